"""The benchmark beside other runtimes: those that are installed compute the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLED = (
    "native", "native int8", "litert", "litert int8", "onnxruntime", "onnxruntime bound",
    "onnxruntime int8", "C loop",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_peers_compute_the_same_and_are_measured(cell, tmp_path):
    script = ROOT / "benchmarks" / "peers.py"
    picture = tmp_path / "peers.svg"
    done = subprocess.run(
        [sys.executable, script, "--cells", cell, "--units", "8", "--rounds", "3",
         "--only", ",".join(INSTALLED), "--picture", picture],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith('{"network"')]
    found = json.loads(lines[0])
    assert all(found[name]["us"] > 0 for name in INSTALLED), found
    assert "best float peer / native" in done.stdout
    assert "<svg" in picture.read_text()
