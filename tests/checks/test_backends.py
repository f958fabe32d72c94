"""Every backend that is listed and usable here, on an int8 and a float32 model."""

import pytest

from device_runner.backends import BACKENDS
from tests.checks.backends import check_backend

# What they take of the two.
SCHEMES = {"onnxruntime": ("float32",), "edgetpu": ("int8",)}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [(name, scheme) for name in BACKENDS for scheme in SCHEMES.get(name, ("int8", "float32"))],
)
def test_backend(name, scheme, step_models):
    if missing := check_backend(name, step_models("lstm", scheme)):
        pytest.skip(missing)
