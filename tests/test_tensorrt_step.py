"""The benchmark in TensorRT, as far as it goes without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from convert.rows import with_rows
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify
from tests.conftest import KEPT_STEP_MODELS

ROOT = Path(__file__).parents[1]
STEPS = 7


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


@pytest.fixture
def engine(monkeypatch):
    """Give the module of the engine on a GPU and a TensorRT that are stood in for."""
    pytest.importorskip("onnxruntime")
    from tests.fake_tensorrt import Stream as CudaStream
    from tests.fake_tensorrt import fake_runtime, fake_tensorrt

    bindings, queue = ModuleType("cuda.bindings"), CudaStream()
    bindings.runtime = fake_runtime(queue)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(queue))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import tensorrt_engine

    return tensorrt_engine


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("graph", [False, True])
def test_states_take_turns_and_are_read_and_written(engine, graph, rows):
    model = load_step_model(KEPT_STEP_MODELS / "gru-float32.tflite")
    if rows > 1:
        model = with_rows(model, rows)
    stream = engine.TensorRtStream(
        model, engine.TensorRtBackend(model, engine.Cuda(), engine.build_engine(model), graph)
    )
    found = verify(stream)
    assert found.failure is None
    assert found.max_abs < 1e-5
    # The bytes of a stream on the CPU, its state taken over after an odd number of steps.
    cpu = Stream(model, "litert")
    frames = np.random.default_rng(1).normal(size=(2 * STEPS, *model.contract.input.shape))
    frames = frames.astype(np.float32)
    for frame in frames[:STEPS]:
        stream.step_bytes(frame.tobytes())
    cpu.load_state(stream.save_state())
    own, theirs = (
        np.array([np.frombuffer(it.step_bytes(x.tobytes()), np.float32) for x in frames[STEPS:]])
        for it in (stream, cpu)
    )
    np.testing.assert_allclose(own, theirs, atol=1e-5)
    assert own.std(axis=0).min() > 1e-4
