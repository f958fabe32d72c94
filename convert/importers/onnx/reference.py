"""Compute a network's outputs with ONNX Runtime, over whole sequences or frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convert.errors import SourceModelError
from convert.importers.imported import Reference
from device_runner.errors import one_line


class Fed(NamedTuple):
    """An input of the network: its shape in one step, its dtype there, and its axis of time."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int | None


class Read(NamedTuple):
    """An output of the network, and its axis of time."""

    name: str
    axis: int | None
    is_step: bool


def open_session(model: Any) -> Any:
    """Load a model into ONNX Runtime.

    Raises:
        SourceModelError: it cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime raises several types of its own.
    except Exception as error:
        raise SourceModelError(
            f"ONNX Runtime cannot load it ({one_line(error)[:200]}); export it again"
        ) from error


def _run(session: Any, names: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        return [np.asarray(item) for item in session.run(names, feeds)]
    except Exception as error:
        raise SourceModelError(
            f"ONNX Runtime cannot compute it ({one_line(error)[:200]}); export it again with "
            "axes of any length for the time"
        ) from error


def _squeezed(array: NDArray[Any], lead: int) -> NDArray[Any]:
    """Return [lead, *sizes that are not 1]."""
    rest = tuple(n for n in array.shape if n != 1) or (1,)
    return array.reshape(lead, *rest)


def over_sequences(
    session: Any, inputs: Sequence[Fed], outputs: Sequence[Read], bound: dict[str, NDArray[Any]]
) -> Reference:
    """Make the reference of a network that takes whole sequences."""
    names = [item.name for item in outputs]

    def compute(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        rows = [_one([value[number] for value in values]) for number in range(len(values[0]))]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _one(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        feeds = dict(bound)
        for item, value in zip(inputs, values, strict=True):
            if item.axis is None:
                feeds[item.name] = value.reshape(item.shape).astype(item.dtype)
                continue
            rest = item.shape[: item.axis] + item.shape[item.axis + 1 :]
            frames = value.reshape(len(value), *rest)
            feeds[item.name] = np.moveaxis(frames, 0, item.axis).astype(item.dtype)
        found = []
        for read, array in zip(outputs, _run(session, names, feeds), strict=True):
            if read.axis is None:
                found.append(_squeezed(array, 1)[0])
                continue
            frames = np.moveaxis(array, read.axis, 0)
            rest = tuple(n for n in frames.shape[1:] if n != 1) or (1,)
            found.append(frames.reshape(len(frames), *rest))
        return found

    return compute


def by_steps(
    session: Any,
    inputs: Sequence[Fed],
    outputs: Sequence[Read],
    states: Sequence[tuple[Fed, str]],
    bound: dict[str, NDArray[Any]],
) -> Reference:
    """Make the reference of a network that is a step: each frame is a call.

    Args:
        states: each state's input, and the name of the output that is its new value.
    """
    names = [item.name for item in outputs] + [given for _, given in states]

    def compute(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        rows = [_one([value[number] for value in values]) for number in range(len(values[0]))]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _one(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        state = {item.name: np.zeros(item.shape, np.float32) for item, _ in states}
        found: list[list[NDArray[Any]]] = [[] for _ in outputs]
        for number in range(len(values[0])):
            feeds = {**bound, **state}
            for item, value in zip(inputs, values, strict=True):
                feeds[item.name] = value[number].reshape(item.shape).astype(item.dtype)
            given = _run(session, names, feeds)
            for place, array in enumerate(given[: len(outputs)]):
                found[place].append(_squeezed(array, 1)[0])
            new = zip(states, given[len(outputs) :], strict=True)
            state = {fed.name: array.reshape(fed.shape) for (fed, _), array in new}
        return [np.stack(column) for column in found]

    return compute
