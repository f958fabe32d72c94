"""Every backend that is listed and usable here, on an int8 and a float32 model."""

import shutil

import pytest

from device_runner.backends import BACKENDS
from device_runner.model.step_file import load_step_model
from tests.checks.backends import check_backend

# What they take of the two.
SCHEMES = {"onnxruntime": ("float32",), "edgetpu": ("int8",)}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [(name, scheme) for name in BACKENDS for scheme in SCHEMES.get(name, ("int8", "float32"))],
)
def test_backend(name, scheme, step_models, tmp_path):
    path = tmp_path / "lstm.tflite"
    shutil.copy(step_models("lstm", scheme), path)
    if name == "onnxruntime":
        from convert.exporters.onnx import export_onnx

        pytest.importorskip("onnxruntime")
        export_onnx(load_step_model(path), path.with_suffix(".onnx"))
    if missing := check_backend(name, path):
        pytest.skip(missing)
