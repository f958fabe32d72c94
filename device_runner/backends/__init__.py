"""Runtimes that can step a model: one file each, listed here, chosen by name or automatically."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from device_runner.backends import litert, tensorflow, tflite_runtime
from device_runner.backends.interpreter import InterpreterBackend
from device_runner.contract import StepModel
from device_runner.errors import MissingRuntimeError, UnknownBackendError

# In order of preference. Each loads a step model: (model, threads) -> backend,
# and raises MissingRuntimeError where its runtime is not installed.
BACKENDS: dict[str, Callable[[StepModel, int], InterpreterBackend]] = {
    "litert": litert.load,
    "tflite_runtime": tflite_runtime.load,
    "tensorflow": tensorflow.load,
}
AUTOMATIC = "auto"


def load_backend(
    model: StepModel, backend: str = AUTOMATIC, threads: int = 1
) -> InterpreterBackend:
    """Load a step model into a runtime.

    Args:
        model: the checked file.
        backend: a name in BACKENDS, or "auto" for the first one that is installed.
        threads: threads the runtime may use for one step.

    Raises:
        UnknownBackendError: there is no such backend.
        MissingRuntimeError: its runtime is not installed.
        BadModelError: the runtime refuses the model.
    """
    if backend == AUTOMATIC:
        reasons = []
        for load in BACKENDS.values():
            try:
                return load(model, threads)
            except MissingRuntimeError as error:
                reasons.append(error.message)
        raise MissingRuntimeError("no runtime: " + "; ".join(reasons))
    check_backend(backend)
    return BACKENDS[backend](model, threads)


def check_backend(name: str) -> None:
    """Raise UnknownBackendError unless ``name`` is "auto" or in BACKENDS."""
    if name != AUTOMATIC and name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise UnknownBackendError(
            f"unknown backend '{name}'{hint} There are: {AUTOMATIC}, {', '.join(BACKENDS)}"
        )
