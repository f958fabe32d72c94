"""What outlives its stream (a bound step, one of the four calls) keeps the memory that it reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import KEPT_STEP_MODELS

RUNTIMES = {
    "litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tensorflow": "tensorflow",
    "micro": "tflite_micro",
    "native": "device_runner.libedgestep",
    "onnxruntime": "onnxruntime",
    "reference": "numpy",
}
# Prints which steps and calls go wrong after their stream is collected and memory is filled anew.
SCRIPT = """
import gc, sys
import numpy as np
from device_runner.model.frames import stored_frames
from device_runner.stream import Stream, Streams

path, backend = sys.argv[1:]
CALLS = ("put", "invoke", "advance", "get")
FILL = 0xA5

def filled_memory():
    gc.collect()
    sizes = [2**n + more for n in range(5, 22) for more in (-16, 0, 64)]
    return [np.full(size, FILL, np.uint8) for size in sizes for _ in range(max(4, 2**14 // size))]

def step_of_four_calls():
    held = Stream(path, backend).backend
    put, invoke, advance, get = (getattr(held, name) for name in CALLS)
    def step(frame):
        put(frame)
        invoke()
        advance()
        return get()
    return step

stream = Stream(path, backend)
frames = stored_frames(stream.model.golden.inputs, stream.model.contract.inputs)
expected = [stream.step_bytes(frame) for frame in frames]
del stream
for name, make in (
    ("Stream.step_bytes", lambda: Stream(path, backend).step_bytes),
    ("Streams.open().step_bytes", lambda: Streams(path, backend).open().step_bytes),
    ("the four calls", step_of_four_calls),
):
    step = make()
    filled = filled_memory()
    if [step(frame) for frame in frames] != expected:
        print(name)
    del step, filled
for name in CALLS:
    call = getattr(Stream(path, backend).backend, name)
    filled = filled_memory()
    for frame in frames:
        call(frame) if name == "put" else call()
    if any((block != FILL).any() for block in filled):
        print(name, "alone")
"""


# In a process of its own: two TFLite runtimes in one crash.
@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_step_outlives_its_stream(backend, step_models, tmp_path, run_python, pytestconfig):
    if importlib.util.find_spec(RUNTIMES[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    # Two states, and a layer's weights in memory that the model's bytes hold.
    path = step_models("lstm", "float32" if backend == "onnxruntime" else "int8")
    if backend == "onnxruntime":
        path = _with_onnx(path, tmp_path)
    process = run_python("-c", SCRIPT, path, backend, cwd=pytestconfig.rootpath)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""


# A window's step holds rows of the states as well.
@pytest.mark.parametrize("backend", ["litert", "tflite-runtime"])
def test_a_windowed_step_outlives_its_stream(backend, run_python, pytestconfig):
    if importlib.util.find_spec(RUNTIMES[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    path = KEPT_STEP_MODELS / "window-7-3-lanes-int8.tflite"
    process = run_python("-c", SCRIPT, path, backend, cwd=pytestconfig.rootpath)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""


def _with_onnx(original: Path, folder: Path) -> Path:
    from convert.exporters.onnx import export_onnx
    from device_runner.model.step_file import load_step_model

    path = folder / original.name
    path.write_bytes(original.read_bytes())
    export_onnx(load_step_model(path), path.with_suffix(".onnx"))
    return path
