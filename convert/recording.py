"""Record what an exported integer model computes, for :mod:`device_runner.replay` to compare."""

from __future__ import annotations

import contextlib

from convert.portable_kernels import PortableBackend
from device_runner.backends import native
from device_runner.backends.backend import Backend, LoadOptions
from device_runner.backends.kernels import BUILT_IN, LIBEDGESTEP, PORTABLE
from device_runner.backends.litert import load_built_in
from device_runner.errors import BadModelError, MissingRuntimeError
from device_runner.model.recorded_run import (
    RecordedRun,
    can_be_recorded,
    record,
    summarize,
)
from device_runner.model.step_file import StepModel
from device_runner.replay import replay
from device_runner.stream import Stream
from models.tensorflow_log import quiet


def record_run(stream: Stream) -> RecordedRun | None:
    """Step a model through the seeded steps with each kind of kernels that is known.

    Args:
        stream: of the model on LiteRT.

    Returns:
        What the file is to hold. None if not all numbers are integers, or if kernels refuse what
        the seed gives, which real inputs never lead to (the root of a negative number).
    """
    model, contract, kernels = stream.model, stream.model.contract, stream.backend.kernels
    if not can_be_recorded(contract):
        return None
    try:
        summary = summarize(contract, replay(contract, stream.backend))
        summaries = {kernels or "xnnpack": summary}
        # In 16 bits, versions differ in their built-in kernels.
        if all(spec.dtype != "int16" for spec in (*contract.outputs, *contract.states)):
            with quiet():
                plain = load_built_in(model)
            summaries[BUILT_IN] = summarize(contract, replay(contract, plain))
            for kernels, load in ((LIBEDGESTEP, _libedgestep), (PORTABLE, PortableBackend)):
                with contextlib.suppress(BadModelError, MissingRuntimeError):
                    summaries[kernels] = summarize(contract, replay(contract, load(model)))
    except (RuntimeError, BadModelError):
        return None
    finally:
        stream.reset()
    recorded = record(contract, summaries)
    in_float = any(tensor.dtype == "float32" for tensor in model.graph.tensors)
    # How floats are summed up is not the same on CPUs with the same instructions.
    return RecordedRun({}, recorded.samples) if in_float else recorded


def _libedgestep(model: StepModel) -> Backend:
    return native.load(model, LoadOptions())
