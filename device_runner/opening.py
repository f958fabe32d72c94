"""Open a model that steps, for the commands and the benchmark."""

from __future__ import annotations

from pathlib import Path

from device_runner.backends.backend import LoadOptions
from device_runner.containment import loading
from device_runner.memory_limit import beyond, reading, stepping_within
from device_runner.model.foreign_model import load_any_model
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream


def open_stream(file: str | Path, backend: str, options: LoadOptions) -> Stream:
    """Open a stream that has stepped once and is reset.

    A failing runtime fails within :func:`device_runner.containment.loading`.
    """
    with reading(file, _allowed(backend, options)):
        model = load_step_model(file)
    return _opened(model, backend, options)


def open_any_stream(
    file: str | Path, backend: str, options: LoadOptions, data: str | Path | None = None
) -> Stream:
    """Open a stream of any TFLite file, with or without a contract; see :func:`open_stream`.

    ``data`` holds frames for a file without a contract.
    """
    with reading(file, _allowed(backend, options)):
        model = load_any_model(file, data)
    return _opened(model, backend, options)


def _allowed(backend: str, options: LoadOptions) -> int:
    return beyond(backend, options.memory, options.threads)


def _opened(model: StepModel, backend: str, options: LoadOptions) -> Stream:
    with stepping_within(model, _allowed(backend, options)), loading(model.path):
        stream = Stream(model, backend, options)
        stream.step_bytes(bytes(sum(spec.byte_count for spec in model.contract.inputs)))
        stream.reset()
    return stream
