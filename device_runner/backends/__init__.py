"""The runtimes that can step a model: one file each, listed here, chosen by name or automatically.

The list holds names of modules, so that reading it loads none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from device_runner.errors import MissingRuntimeError, UnknownBackendError, did_you_mean

if TYPE_CHECKING:
    from device_runner.backends.backend import Backend, LoadOptions
    from device_runner.model.step_file import StepModel


class BackendEntry(NamedTuple):
    """A backend in the list.

    Attributes:
        module: its file within this package.
        purpose: what it is for, in a few words.
        automatic: whether it is tried, in the order of the list, if no backend is named.
        phases: whether it can call one of several signatures; the others know only "step".
    """

    module: str
    purpose: str
    automatic: bool = False
    phases: bool = False


BACKENDS: dict[str, BackendEntry] = {
    "litert": BackendEntry("litert", "LiteRT on the CPU; the default", True, True),
    "litert-gpu": BackendEntry("litert_gpu", "LiteRT on a GPU; large float models"),
    "tflite-runtime": BackendEntry(
        "tflite_runtime", "the older, small runtime; boards that have it", True, True
    ),
    "tensorflow": BackendEntry(
        "tensorflow", "TensorFlow's own interpreter; where it is installed anyway", True, True
    ),
    "native": BackendEntry("native", "libedgestep, this project's C library", phases=True),
    "micro": BackendEntry(
        "micro", "TensorFlow Lite Micro; whether a microcontroller takes a model"
    ),
    "onnxruntime": BackendEntry("onnxruntime", "ONNX Runtime, on the exported ONNX file"),
    "reference": BackendEntry(
        "reference", "the graph in NumPy; checks a device without any runtime", phases=True
    ),
    "edgetpu": BackendEntry("edgetpu", "Coral; int8 models compiled for it"),
    "external-delegate": BackendEntry("external_delegate", "any other accelerator's delegate"),
}
AUTOMATIC = "auto"
# The automatic choice is the first of these that is installed.
PREFERRED = tuple(name for name, entry in BACKENDS.items() if entry.automatic)


class BackendModule(Protocol):
    """What the file of a backend offers."""

    def load(self, model: StepModel, options: LoadOptions) -> Backend:
        """Load a step model.

        Raises:
            MissingRuntimeError: the runtime, delegate or device is missing.
            BadModelError: the runtime refuses the model.
        """

    def probe(self) -> str:
        """Return the runtime's version, and what it found, in a few words.

        Raises:
            MissingRuntimeError: it is not usable here; the message says why and what to do.
        """


def backend_module(name: str) -> BackendModule:
    """Import a backend of BACKENDS; its runtime is imported when it loads or probes."""
    return cast(
        BackendModule, importlib.import_module(f"device_runner.backends.{BACKENDS[name].module}")
    )


def load_backend(
    model: StepModel, backend: str = AUTOMATIC, options: LoadOptions | None = None
) -> Backend:
    """Load a step model into a runtime.

    Args:
        model: the checked step model.
        backend: a name in BACKENDS, or "auto" for the first one that is installed.
        options: threads, delegate, device.

    Raises:
        UnknownBackendError: there is no such backend.
        MissingRuntimeError: its runtime is not installed.
        BadModelError: the runtime refuses the model, or cannot step it in phases.
    """
    if options is None:
        from device_runner.backends.backend import LoadOptions

        options = LoadOptions()
    if backend == AUTOMATIC:
        reasons = []
        for name in PREFERRED:
            try:
                return backend_module(name).load(model, options)
            except MissingRuntimeError as error:
                reasons.append(error.message)
        raise MissingRuntimeError("no runtime: " + "; ".join(reasons))
    check_backend(backend)
    if not BACKENDS[backend].phases:
        model.require_one_phase(backend)
    return backend_module(backend).load(model, options)


def check_backend(name: str) -> None:
    """Raise UnknownBackendError unless ``name`` is "auto" or in BACKENDS."""
    if name != AUTOMATIC and name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS) or "."
        raise UnknownBackendError(
            f"unknown backend '{name}'{hint} There are: {AUTOMATIC}, {', '.join(BACKENDS)}"
        )
