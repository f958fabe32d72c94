"""Runtimes that can step a model: one file each, listed here, chosen by name or automatically."""

from __future__ import annotations

from typing import Protocol

from device_runner.backends import (
    edgetpu,
    external_delegate,
    litert,
    litert_gpu,
    micro,
    onnxruntime,
    reference,
    tensorflow,
    tflite_runtime,
)
from device_runner.backends.backend import Backend, LoadOptions
from device_runner.errors import MissingRuntimeError, UnknownBackendError, did_you_mean
from device_runner.model.step_file import StepModel


class BackendModule(Protocol):
    """What the file of a backend offers."""

    def load(self, model: StepModel, options: LoadOptions) -> Backend:
        """Load a step model. MissingRuntimeError: the runtime, delegate or device is not here;
        BadModelError: it refuses the model."""

    def probe(self) -> str:
        """The runtime's version, and what it found, in a few words. MissingRuntimeError says why
        it is not usable here and what to do."""


BACKENDS: dict[str, BackendModule] = {
    "litert": litert,
    "litert-gpu": litert_gpu,
    "tflite-runtime": tflite_runtime,
    "tensorflow": tensorflow,
    "micro": micro,
    "onnxruntime": onnxruntime,
    "reference": reference,
    "edgetpu": edgetpu,
    "external-delegate": external_delegate,
}
AUTOMATIC = "auto"
# Of these the first that is installed is the automatic choice.
PREFERRED = ("litert", "tflite-runtime", "tensorflow")
# These call one of several signatures; the others know "step" alone.
WITH_PHASES = (*PREFERRED, "reference")


def load_backend(
    model: StepModel, backend: str = AUTOMATIC, options: LoadOptions | None = None
) -> Backend:
    """Load a step model into a runtime.

    Args:
        model: the checked file.
        backend: a name in BACKENDS, or "auto" for the first one that is installed.
        options: threads, delegate, device.

    Raises:
        UnknownBackendError: there is no such backend.
        MissingRuntimeError: its runtime is not installed.
        BadModelError: the runtime refuses the model, or cannot step it in phases.
    """
    options = options or LoadOptions()
    if backend == AUTOMATIC:
        reasons = []
        for name in PREFERRED:
            try:
                return BACKENDS[name].load(model, options)
            except MissingRuntimeError as error:
                reasons.append(error.message)
        raise MissingRuntimeError("no runtime: " + "; ".join(reasons))
    check_backend(backend)
    if backend not in WITH_PHASES:
        model.require_one_phase(backend)
    return BACKENDS[backend].load(model, options)


def check_backend(name: str) -> None:
    """Raise UnknownBackendError unless ``name`` is "auto" or in BACKENDS."""
    if name != AUTOMATIC and name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS) or "."
        raise UnknownBackendError(
            f"unknown backend '{name}'{hint} There are: {AUTOMATIC}, {', '.join(BACKENDS)}"
        )
