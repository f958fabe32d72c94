"""Find along which axis of each input time runs, by following the graph with each in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convert.errors import ConvertError, UnsupportedLayerError
from convert.importers.onnx.network import Dimension, Graph, Port
from convert.importers.onnx.pairs import is_batch
from convert.importers.onnx.trace import Trace
from convert.importers.onnx.value import Value
from convert.step.step_graph import Kind

# Lengths to follow sequences of any length with; one that is no other size in the graph.
LENGTHS = (37, 41, 43, 47, 53, 59, 61, 67, 71, 73)
# How many ways to try.
TRIALS = 40
# The largest input of one step.
FRAME_LIMIT = 2**20
TIME_WORDS = ("time", "seq", "step", "frame", "len", "t")


@dataclass(frozen=True)
class Followed:
    """A graph that was followed, and the axis of time of each input (None where it has none)."""

    trace: Trace
    axes: dict[str, int | None]


def follow_step(graph: Graph, sizes: dict[str, int], known: dict[str, Value]) -> Followed:
    """Follow a graph whose every call is one step.

    Args:
        sizes: sizes of named axes; others that are not known are 1.
        known: inputs that stay the same, by name.
    """
    trace = Trace(graph, 1, dict(known))
    for port in graph.inputs:
        if port.name not in known:
            shape = tuple(size_of(axis, sizes) for axis in port.shape)
            trace.values[port.name] = _input(port, shape, None)
    trace.run()
    return Followed(trace, dict.fromkeys(trace.values, None))


def size_of(axis: Dimension, sizes: dict[str, int]) -> int:
    """Return an axis' size; 1 where the file leaves it open."""
    if isinstance(axis, int):
        return axis
    return sizes.get(axis or "", 1)


def _input(port: Port, shape: tuple[int, ...], axis: int | None, constant: bool = False) -> Value:
    if int(np.prod(shape, dtype=np.int64)) > FRAME_LIMIT:
        raise UnsupportedLayerError(
            f"input '{port.name}' takes {list(shape)} values in a step, which is too large"
        )
    if port.dtype not in (np.float32, np.int32, np.int64, np.bool_):
        raise UnsupportedLayerError(
            f"input '{port.name}' is {port.dtype}; a step takes float32, or token ids as int64 or "
            "int32: export the network in float32"
        )
    dtype = port.dtype if port.dtype.kind == "f" else np.dtype(np.int32)
    kind = Kind.CONSTANT if constant else Kind.STEP
    return Value(port.name, shape, dtype, axis, kind=kind)


def follow_window(
    graph: Graph,
    sizes: dict[str, int],
    known: dict[str, Value],
    axes: dict[str, int | None],
    steps: int,
) -> Trace:
    """Follow a graph over a window of ``steps`` as if it were one frame.

    Args:
        axes: of each input, the axis that has ``steps`` values.

    Raises:
        UnsupportedLayerError: an operator cannot be computed.
    """
    trace = Trace(graph, 1, dict(known))
    for port in graph.inputs:
        if port.name in known:
            continue
        shape = tuple(
            steps if place == axes[port.name] else size_of(size, sizes)
            for place, size in enumerate(port.shape)
        )
        trace.values[port.name] = _input(port, shape, None)
    trace.run()
    return trace


@dataclass(frozen=True)
class NoStep:
    """Why a graph cannot be stepped, and along which axes time runs most likely."""

    error: ConvertError
    axes: dict[str, int | None]


def follow_sequence(
    graph: Graph, sizes: dict[str, int], known: dict[str, Value]
) -> Followed | NoStep:
    """Follow a graph over whole sequences, along the axes with which most of it looks back.

    Raises:
        UnsupportedLayerError: no input has an axis along which time could run.
    """
    ports = [port for port in graph.inputs if port.name not in known]
    best: Followed | None = None
    failures: list[tuple[int, ConvertError, dict[str, int | None]]] = []
    choices = itertools.product(*(list(_candidates(port, sizes)) for port in ports))
    for chosen in itertools.islice(choices, TRIALS):
        axes = {port.name: axis for port, axis in zip(ports, chosen, strict=True)}
        if all(axis is None for axis in axes.values()) or not _agree(ports, axes):
            continue
        trace = Trace(graph, _length(graph, ports, axes, sizes), dict(known))
        try:
            for port in ports:
                axis = axes[port.name]
                shape = tuple(
                    1 if place == axis else size_of(size, sizes)
                    for place, size in enumerate(port.shape)
                )
                trace.values[port.name] = _input(port, shape, axis, axis is None)
            trace.run()
            _check_outputs(trace)
        except ConvertError as error:
            failures.append((len(trace.instructions), error, axes))
            continue
        if best is None or trace.over_time > best.trace.over_time:
            best = Followed(trace, axes)
    failures = [item for item in failures if best is None or _several(ports, item[2])]
    if best is not None and not (failures and _is_a_whole_window(best, ports)):
        return best
    if failures:
        # Time is more than one step.
        _, reason, likely = max(failures, key=lambda item: (_several(ports, item[2]), item[0]))
        return NoStep(reason, likely)
    raise UnsupportedLayerError(
        "no input has an axis along which time could run; name states with --state IN=OUT"
    )


def _candidates(port: Port, sizes: dict[str, int]) -> Iterator[int | None]:
    """List the axes of an input along which time may run, likely ones first."""
    if not port.shape:
        yield None
        return
    rank = len(port.shape)
    free = [
        place
        for place, size in enumerate(port.shape)
        if not isinstance(size, int) and not is_batch(size) and size not in sizes
    ]
    free.sort(key=lambda place: (not _sounds_like_time(port.shape[place]), place == 0, place))
    fixed = [place for place in (1, 0, *range(2, rank)) if place < rank and place not in free]
    fixed = [place for place in fixed if not is_batch(port.shape[place])]
    if free:
        # An axis of a size that is not known is time, or a batch.
        yield from free
        return
    wide = [place for place in fixed if port.shape[place] != 1]
    if rank > 2 or port.dtype.kind != "f":
        yield from wide
        yield from (place for place in fixed if place not in wide)
        yield None
    else:
        yield None
        yield from wide


def _sounds_like_time(size: Dimension) -> bool:
    name = str(size or "").lower()
    return name == "t" or any(word in name for word in TIME_WORDS[:-1])


def _is_a_whole_window(found: Followed, ports: list[Port]) -> bool:
    """Tell whether each step of a graph that was followed takes what is a window of frames."""
    if found.trace.over_time or _several(ports, found.axes):
        return False
    recurrent = any(node.kind in ("LSTM", "GRU", "RNN") for node in found.trace.graph.nodes)
    return recurrent or all(len(port.shape) < 4 for port in ports)


def _several(ports: list[Port], axes: dict[str, int | None]) -> bool:
    """Tell whether the axes that may be time are not of size 1."""
    return all(
        (axis := axes[port.name]) is None or port.shape[axis] not in (1, "1") for port in ports
    )


def _agree(ports: list[Port], axes: dict[str, int | None]) -> bool:
    """Tell whether all axes that may be time have one length."""
    sizes = {
        port.shape[axis]
        for port in ports
        if (axis := axes[port.name]) is not None and isinstance(port.shape[axis], int)
    }
    return len(sizes) < 2


def _length(
    graph: Graph, ports: list[Port], axes: dict[str, int | None], sizes: dict[str, int]
) -> int:
    """Return the length that time is fixed to, or one that is no other size in the graph."""
    for port in ports:
        axis = axes[port.name]
        size = None if axis is None else port.shape[axis]
        if isinstance(size, int):
            return size
    taken = {size for array in graph.constants.values() for size in array.shape}
    taken |= {size for port in ports for size in port.shape if isinstance(size, int)}
    return next((length for length in LENGTHS if length not in taken), 79)


def _check_outputs(trace: Trace) -> None:
    for port in trace.graph.outputs:
        value = trace.values[port.name]
        right, front = value.frames.right, value.frames.front
        if value.axis is not None and right > 0:
            raise UnsupportedLayerError(
                f"output '{port.name}' needs {right} steps of the future, which a stream does not "
                "have; pad convolutions at the start alone, or cut their end off"
            )
        if value.axis is not None and (front or right):
            raise UnsupportedLayerError(
                f"output '{port.name}' {'begins' if front else 'ends'} {abs(front or right)} "
                "steps before the input, as a convolution is padded by more than (size - 1) * "
                "dilation zeros at its start, or its end is cut off; pad it by as many"
            )
