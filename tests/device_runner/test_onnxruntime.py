"""The onnxruntime backend: LiteRT's results from the file beside the model, or one clear line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest

from convert.exporters.onnx import export_onnx
from device_runner.backends import onnxruntime
from device_runner.backends.backend import LoadOptions
from device_runner.errors import BadModelError
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream


@pytest.fixture
def exported(step_models, tmp_path):
    """A float32 model of an LSTM, with its ONNX form beside it."""
    path = tmp_path / "lstm.tflite"
    path.write_bytes(step_models("lstm", "float32").read_bytes())
    export_onnx(load_step_model(path), path.with_suffix(".onnx"))
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_sequence_is_litert_s(exported, frames, threads):
    expected = Stream(exported, "litert").run(frames)
    found = Stream(exported, "onnxruntime", LoadOptions(threads)).run(frames)
    assert np.abs(found - expected).max() / np.ptp(expected) < 1e-5


def test_a_saved_state_goes_on_in_another_runtime(exported, frames):
    whole = Stream(exported, "litert").run(frames)
    first, rest = Stream(exported, "onnxruntime"), Stream(exported, "litert")
    first.run(frames[:50])
    rest.load_state(first.save_state())
    np.testing.assert_allclose(rest.run(frames[50:]), whole[50:], atol=1e-4)


def test_memory_is_bound_once(exported, frames):
    stream = Stream(exported, "onnxruntime")
    inputs, outputs = stream.backend.arrays
    before = {name: array.ctypes.data for name, array in {**inputs, **outputs}.items()}
    y = stream.run(frames[:3])
    assert {n: a.ctypes.data for n, a in {**inputs, **outputs}.items()} == before
    np.testing.assert_array_equal(outputs["y"][0], y[-1])
    np.testing.assert_array_equal(inputs["h"], outputs["h_out"])


def refusal(path) -> str:
    with pytest.raises(BadModelError) as caught:
        Stream(path, "onnxruntime")
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


def test_missing_file_says_how_to_write_it(int8_file):
    message = refusal(int8_file)
    assert f"{int8_file.with_suffix('.onnx')} is not there" in message
    assert f"edgestep export-onnx {int8_file}" in message


def test_another_model_s_file_is_refused(exported, float32_file, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(float32_file.read_bytes())
    exported.with_suffix(".onnx").rename(other.with_suffix(".onnx"))
    assert "was made from another model than other.tflite" in refusal(other)


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_damaged_file_is_refused(exported, keep):
    path = exported.with_suffix(".onnx")
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(exported)
    assert message.startswith(str(path))
    assert "refuses the model" in message or "another model" in message


def test_other_inputs_are_refused(exported):
    path = exported.with_suffix(".onnx")
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, (1, 2)))
    onnx.save(model, path)
    message = refusal(exported)
    assert "has the inputs x, " in message
    assert ", more, which are not the step model's" in message


def test_without_the_package_one_line_says_what_to_install(exported):
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from device_runner.cli import main\n"
        f"main(['verify', '--backend', 'onnxruntime', {str(exported)!r}])"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert process.returncode == 4
    assert process.stderr.startswith("Error: ONNX Runtime is not usable")
    assert "pip install onnxruntime" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_probe_is_the_version():
    assert onnxruntime.probe() == __import__("onnxruntime").__version__
