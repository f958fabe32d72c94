"""The backend for any delegate in a shared library, in LiteRT or tflite-runtime.

Such a library exports ``tflite_plugin_create_delegate`` and ``tflite_plugin_destroy_delegate``.
A delegate may take every operator of a graph, some, or none: :meth:`ExternalDelegateBackend.\
placement` tells which.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.backends import litert, tflite_runtime
from device_runner.backends.backend import LoadOptions, Placement
from device_runner.backends.delegation import placement_of
from device_runner.backends.interpreter import InterpreterBackend
from device_runner.errors import BadModelError, MissingRuntimeError, OptionError, one_line
from device_runner.model.step_file import StepModel

NAME = "external-delegate"
_SYMBOLS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


@dataclass(frozen=True)
class DelegateRuntime:
    """A runtime that takes delegates: its backend's name, its version and its Python interface."""

    name: str
    version: str
    interpreter: Any
    load_delegate: Any


def load(model: StepModel, options: LoadOptions) -> ExternalDelegateBackend:
    """Load a step model with the delegate ``options.delegate``.

    Raises:
        OptionError: no delegate is named.
        MissingRuntimeError: the library is missing, is not a delegate, or does not start.
        BadModelError: the delegate or the runtime refuses the model.
    """
    if options.delegate is None:
        raise OptionError(
            f"the backend '{NAME}' needs a delegate; name its library with '--delegate PATH'"
        )
    runtime = find_runtime(litert, tflite_runtime)
    check_library(options.delegate, "check the path given with '--delegate'")
    try:
        delegate = start_delegate(runtime, options.delegate, options.delegate_options)
    except ValueError as error:
        raise MissingRuntimeError(
            f"the delegate {options.delegate} does not start ({one_line(error)}); "
            "check its device and what is given with '--delegate-option'"
        ) from error
    accelerator = Path(options.delegate).name
    return ExternalDelegateBackend(NAME, accelerator, runtime, delegate, model, options.threads)


def probe() -> str:
    """Return the runtime that would load a delegate."""
    runtime = find_runtime(litert, tflite_runtime)
    return f"{runtime.name} {runtime.version}, with '--delegate PATH'"


class ExternalDelegateBackend(InterpreterBackend):
    """A step model in an interpreter with a delegate, called ``accelerator`` in the placement."""

    wants_accelerator = True

    def __init__(
        self,
        name: str,
        accelerator: str,
        runtime: DelegateRuntime,
        delegate: Any,
        model: StepModel,
        threads: int,
    ) -> None:
        version = f"{runtime.name} {runtime.version}"
        try:
            interpreter = runtime.interpreter(
                model_content=model.flatbuffer,
                num_threads=threads,
                experimental_delegates=[delegate],
            )
        except (RuntimeError, ValueError) as error:
            raise BadModelError(
                f"{model.path}: {accelerator} in {version} refuses the model "
                f"({one_line(error)}); try a backend without delegate"
            ) from error
        # This must come before the tensors are allocated, when XNNPACK takes its share of the rest.
        self._placement = placement_of(interpreter, model.graph, accelerator)
        super().__init__(name, version, interpreter, model, runtime.name)

    def placement(self) -> Placement | None:
        """Return what the delegate took. If all operators are on the CPU, it has no effect."""
        return self._placement


def find_runtime(*backends: Any) -> DelegateRuntime:
    """Return the first of these backends' runtimes that is installed."""
    reasons = []
    for backend in backends:
        try:
            version = backend.probe()
        except MissingRuntimeError as error:
            reasons.append(error.message)
            continue
        module = backend.interpreter_module()
        return DelegateRuntime(backend.NAME, version, module.Interpreter, module.load_delegate)
    raise MissingRuntimeError("; ".join(reasons))


def check_library(library: str, advice: str) -> None:
    """Raise MissingRuntimeError, ending in the advice, unless the library is a delegate that loads.

    The runtimes' own loader would also print a traceback."""
    if os.sep in library and not Path(library).is_file():
        raise MissingRuntimeError(f"there is no file {library}; {advice}")
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        raise MissingRuntimeError(
            f"{library} does not load ({one_line(error)}); {advice}"
        ) from None
    if missing := [name for name in _SYMBOLS if not hasattr(loaded, name)]:
        raise MissingRuntimeError(f"{library} is not a TFLite delegate (no {missing[0]}); {advice}")


def start_delegate(runtime: DelegateRuntime, library: str, options: Mapping[str, str]) -> Any:
    """Start a delegate for an interpreter; ValueError if it does not start."""
    return runtime.load_delegate(library, dict(options))
