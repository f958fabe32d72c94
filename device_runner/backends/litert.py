"""LiteRT, the current TFLite runtime (distribution ``ai-edge-litert``), with XNNPACK on the CPU."""

from __future__ import annotations

from typing import Any

from device_runner.backends.backend import LoadOptions, distribution_version
from device_runner.backends.interpreter import InterpreterBackend, load_interpreter
from device_runner.errors import MissingRuntimeError, one_line
from device_runner.model.step_file import StepModel

NAME = "litert"


def load(model: StepModel, options: LoadOptions) -> InterpreterBackend:
    """Load a step model with LiteRT's interpreter."""
    return load_interpreter(NAME, probe(), interpreter_module().Interpreter, model, options)


def probe() -> str:
    """Return LiteRT's version."""
    interpreter_module()
    return distribution_version("ai-edge-litert")


def interpreter_module() -> Any:
    """Import the runtime's Python interface; MissingRuntimeError if it is not installed."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise MissingRuntimeError(
            f"LiteRT is not usable ({one_line(error)}); "
            "install it with 'pip install ai-edge-litert'"
        ) from error
    return interpreter
