"""The benchmark in TensorRT, as far as it goes without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import KEPT_STEP_MODELS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("gru-float32", 4, r"pip install tensorrt|NVIDIA GPU"),
        ("gru-int8", 3, "ONNX is made of float32"),
        ("missing", 2, "does not exist"),
    ],
)
def test_what_is_missing_is_said_in_a_line(file, code, said, tmp_path):
    pytest.importorskip("onnx")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "tensorrt_step.py",
         KEPT_STEP_MODELS / f"{file}.tflite"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert any(part in done.stderr.splitlines()[-1] for part in said.split("|"))
