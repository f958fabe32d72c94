"""LiteRT, the current TFLite runtime (distribution ``ai-edge-litert``)."""

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
    """Load a step model with LiteRT's interpreter (XNNPACK on the CPU)."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingRuntimeError(
            f"LiteRT is not usable ({one_line(error)}); "
            "install it with 'pip install ai-edge-litert'"
        ) from error
    version = distribution_version("ai-edge-litert")
    try:
        interpreter = Interpreter(model_content=model.flatbuffer, num_threads=threads)
    except (RuntimeError, ValueError) as error:
        raise refused("litert", version, model, error) from error
    return InterpreterBackend("litert", version, interpreter, model)
