"""A step in C++ for FPGAs by hls4ml: its errors are those of fixed point, not of another net."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_hls_computes_what_the_float_step_does(tmp_path):
    pytest.importorskip("hls4ml")
    project = tmp_path / "project"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "hls_step.py", "--units", "8", "--steps", "200",
         "--project", project],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = dict(re.findall(r"^\| (hls4ml[^|]+|step model[^|]+) \| ([\d.]+)%", done.stdout, re.M))
    assert float(rows["hls4ml, state 16, weights 8"]) < 3
    assert set(rows) == {
        "step model, int8", "step model, int16x8", "hls4ml, state 16, weights 8",
        "hls4ml, state 8, weights 8",
    }  # fmt: skip
    assert (project / "gru-8-state-16" / "firmware" / "step.cpp").exists()
    assert (project / "gru-8-state-16" / "build_prj.tcl").exists()
