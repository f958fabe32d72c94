"""The small, older TFLite runtime (distribution ``tflite-runtime``), as found on many boards."""

from __future__ import annotations

from device_runner.backends.interpreter import (
    InterpreterBackend,
    distribution_version,
    one_line,
    refused,
)
from device_runner.contract import StepModel
from device_runner.errors import MissingRuntimeError


def load(model: StepModel, threads: int = 1) -> InterpreterBackend:
    """Load a step model with tflite-runtime's interpreter."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except (ImportError, AttributeError) as error:  # AttributeError: built for another NumPy
        raise MissingRuntimeError(
            f"tflite-runtime is not usable ({one_line(error)}); install it with "
            "'pip install tflite-runtime \"numpy<2\"' (Python 3.11 or older)"
        ) from error
    version = distribution_version("tflite-runtime")
    try:
        interpreter = Interpreter(model_content=model.flatbuffer, num_threads=threads)
    except (RuntimeError, ValueError) as error:
        raise refused("tflite_runtime", version, model, error) from error
    return InterpreterBackend("tflite_runtime", version, interpreter, model)
