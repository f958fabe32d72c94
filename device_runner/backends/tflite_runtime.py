"""The backend for the older, small TFLite runtime ``tflite-runtime``, found on many boards."""

from __future__ import annotations

from typing import Any

from device_runner.backends.backend import LoadOptions, distribution_version
from device_runner.backends.interpreter import InterpreterBackend, load_interpreter
from device_runner.errors import MissingRuntimeError, one_line
from device_runner.model.step_file import StepModel

NAME = "tflite-runtime"


def load(model: StepModel, options: LoadOptions) -> InterpreterBackend:
    """Load a step model with tflite-runtime's interpreter."""
    version, interpreter = probe(), interpreter_module().Interpreter
    return load_interpreter(NAME, version, interpreter, model, options)


def probe() -> str:
    """Return tflite-runtime's version."""
    interpreter_module()
    return distribution_version("tflite-runtime")


def interpreter_module() -> Any:
    """Import the runtime's Python interface; MissingRuntimeError if it is not installed."""
    try:
        from tflite_runtime import interpreter
    except (ImportError, AttributeError) as error:  # AttributeError: built for another NumPy
        raise MissingRuntimeError(
            f"tflite-runtime is not usable ({one_line(error)}); install it with "
            "'pip install tflite-runtime \"numpy<2\"' (Python 3.11 or older)"
        ) from error
    return interpreter
