"""Open a model that steps, for the commands and the benchmark."""

from __future__ import annotations

from pathlib import Path

from device_runner.backends.backend import LoadOptions
from device_runner.containment import loading
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream


def open_stream(file: str | Path, backend: str, options: LoadOptions) -> Stream:
    """Open a stream that has stepped once and is reset.

    A failing runtime fails within :func:`device_runner.containment.loading`.
    """
    model = load_step_model(file)
    with loading(file):
        stream = Stream(model, backend, options)
        stream.step_bytes(bytes(sum(spec.byte_count for spec in model.contract.inputs)))
        stream.reset()
    return stream
