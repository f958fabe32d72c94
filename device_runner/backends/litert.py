"""LiteRT, the current TFLite runtime (distribution ``ai-edge-litert``), with XNNPACK on the CPU."""

from __future__ import annotations

import functools
from typing import Any

from device_runner.backends.backend import LoadOptions, distribution_version
from device_runner.backends.interpreter import InterpreterBackend, load_interpreter
from device_runner.backends.kernels import xnnpack_of_litert
from device_runner.errors import MissingRuntimeError, one_line
from device_runner.model.step_file import StepModel

NAME = "litert"


def load(model: StepModel, options: LoadOptions) -> InterpreterBackend:
    """Load a step model with LiteRT's interpreter."""
    version, interpreter = probe(), interpreter_module().Interpreter
    return load_interpreter(NAME, version, interpreter, model, options, xnnpack_of_litert(version))


def load_built_in(model: StepModel) -> InterpreterBackend:
    """Load an integer step model with LiteRT's built-in kernels, without XNNPACK.

    They nearly always give the bits of the older, small runtime (device_runner.backends.kernels).
    """
    module = interpreter_module()
    plain = functools.partial(
        module.Interpreter,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    return load_interpreter(NAME, probe(), plain, model, LoadOptions())


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
