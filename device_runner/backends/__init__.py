"""The runtimes that can step a model: one file each, listed here, chosen by name or automatically.

The list holds names of modules, so that reading it loads none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from device_runner.errors import (
    DeviceRunnerError,
    MissingRuntimeError,
    UnknownBackendError,
    did_you_mean,
)

if TYPE_CHECKING:
    from device_runner.backends.backend import Backend, LoadOptions
    from device_runner.model.step_file import StepModel


class BackendEntry(NamedTuple):
    """A backend in the list.

    Attributes:
        module: its file within this package.
        purpose: what it is for, in a few words.
        automatic: whether it is tried, in the order of the list, if no backend is named.
        tested: whether it is tried before those, and taken if it passes its self-test on the file.
        phases: whether it can call one of several signatures; the others know only "step".
        one_call: whether its invoke is the whole step: there is no bare one to tell from it.
    """

    module: str
    purpose: str
    automatic: bool = False
    phases: bool = False
    tested: bool = False
    one_call: bool = False


BACKENDS: dict[str, BackendEntry] = {
    "native": BackendEntry(
        "native",
        "libedgestep, this project's C library; the default",
        phases=True,
        tested=True,
        one_call=True,
    ),
    "litert": BackendEntry("litert", "LiteRT on the CPU; the default without it", True, True),
    "litert-gpu": BackendEntry("litert_gpu", "LiteRT on a GPU; large float models"),
    "tflite-runtime": BackendEntry(
        "tflite_runtime", "the older, small runtime; boards that have it", True, True
    ),
    "tensorflow": BackendEntry(
        "tensorflow", "TensorFlow's own interpreter; where it is installed anyway", True, True
    ),
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
# The runtimes of TensorFlow Lite that are chosen automatically: the first that is installed.
PREFERRED = tuple(name for name, entry in BACKENDS.items() if entry.automatic)
# What "auto" may step a file with, and so what each new file is verified on.
VERIFYING = tuple(name for name, entry in BACKENDS.items() if entry.tested or entry.automatic)


def steps_in_one_call(backend: str) -> bool:
    """Tell whether a backend has no bare invoke, so that its time says nothing beside a step's."""
    entry = BACKENDS.get(backend)
    return entry is not None and entry.one_call


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
        backend: a name in BACKENDS, or "auto": libedgestep if it steps this file and passes the
            self-test, otherwise the first of PREFERRED that is installed.
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
        return _load_automatic(model, options)
    check_backend(backend)
    if not BACKENDS[backend].phases:
        model.require_one_phase(backend)
    return backend_module(backend).load(model, options)


def _load_automatic(model: StepModel, options: LoadOptions) -> Backend:
    """Load a model into the best backend; its ``choice`` says why it is this one."""
    refusals, missing = [], []
    for name in (name for name, entry in BACKENDS.items() if entry.tested):
        found = _load_tested(name, model, options)
        if not isinstance(found, str):
            return found
        refusals.append(f"not {name}: {found}")
    for name in PREFERRED:
        try:
            loaded = backend_module(name).load(model, options)
        except MissingRuntimeError as error:
            missing.append(error.message)
            continue
        loaded.choice = "; ".join(refusals)
        return loaded
    raise MissingRuntimeError("no runtime: " + "; ".join([*missing, *refusals]))


def _load_tested(name: str, model: StepModel, options: LoadOptions) -> Backend | str:
    """Load a model into a backend and test it; say in words why it cannot be taken."""
    if options.threads > 1:
        return f"it steps with one thread, {options.threads} are asked for"
    try:
        loaded = backend_module(name).load(model, options)
        from device_runner.backends.self_test import self_test

        failure = self_test(model, loaded)
    except DeviceRunnerError as error:
        return error.message.removeprefix(f"{model.path}: ")
    if failure is not None:
        return f"its self-test fails: {failure}"
    loaded.choice = "passes its self-test on this file"
    return loaded


def check_backend(name: str) -> None:
    """Raise UnknownBackendError unless ``name`` is "auto" or in BACKENDS."""
    if name != AUTOMATIC and name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS) or "."
        raise UnknownBackendError(
            f"unknown backend '{name}'{hint} There are: {AUTOMATIC}, {', '.join(BACKENDS)}"
        )
