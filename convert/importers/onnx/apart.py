"""States that are parts of one input and one output, such as h and c of an LSTM in one tensor.

Kept together they would have one scale in integers, though c may be many times as large as h. Where
each part is read and written on its own, each becomes a state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from convert.importers.onnx.network import Graph, Node, Port
from convert.importers.onnx.pairs import Pair
from convert.importers.onnx.value import Value


class _Range(NamedTuple):
    """What a node reads of a state along the axis of its parts, and what it calls it."""

    begin: int
    end: int
    output: str
    drops_axis: bool = False


def with_parts_apart(
    graph: Graph, pairs: Sequence[Pair], values: Mapping[str, Value]
) -> tuple[Graph, tuple[Pair, ...]]:
    """Make a state of each part of a state that is joined of parts and read in the same parts.

    Args:
        graph: a network of one step.
        values: what is known of its values.

    Returns:
        The graph with an input and an output for each part, and the pairs of these.
    """
    found: list[Pair] = []
    for pair in pairs:
        divided = None if any(node.kind == "If" for node in graph.nodes) else _divided(
            graph, pair, values)  # fmt: skip
        if divided is None:
            found.append(pair)
        else:
            graph, parts = divided
            found += parts
    return graph, tuple(found)


def _divided(
    graph: Graph, pair: Pair, values: Mapping[str, Value]
) -> tuple[Graph, list[Pair]] | None:
    """Divide one state; None if its parts are not read and written on their own."""
    join = next((node for node in graph.nodes if pair.given in node.outputs), None)
    port, outputs = graph.port(pair.taken), {item.name for item in graph.outputs}
    if join is None or join.kind != "Concat" or port is None or len(set(join.inputs)) < 2:
        return None
    parts = [values[name] for name in join.inputs]
    if len(set(join.inputs)) < len(parts) or any(
        part.constant is not None or part.name in outputs for part in parts
    ):
        return None
    rank = len(values[pair.taken].shape)
    axis = int(join.attributes.get("axis", 0)) % rank
    ends = np.cumsum([part.shape[axis] for part in parts]).tolist()
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    readers = [node for node in graph.nodes if pair.taken in node.inputs]
    read = [_ranges(node, axis, values) for node in readers]
    ranges = [one for some in read for one in some or ()]
    if not readers or None in read or any((one.begin, one.end) not in bounds for one in ranges):
        return None
    names = [f"{pair.taken}_{number}" for number in range(len(bounds))]
    passed = []
    for one in ranges:
        source = names[bounds.index((one.begin, one.end))]
        kind, settings = ("Squeeze", {"axes": [axis]}) if one.drops_axis else ("Identity", {})
        passed.append(Node(kind, one.output, (source,), (one.output,), settings))
    nodes = [node for node in graph.nodes if node not in readers]
    if not any(pair.given in node.inputs for node in nodes):
        nodes = [node for node in nodes if node is not join]
    sizes = [end - begin for begin, end in bounds]
    taken = [replace(port, name=name, shape=_with_size(port, axis, size))
             for name, size in zip(names, sizes, strict=True)]  # fmt: skip
    given = [Port(name, port.dtype, part.shape)
             for name, part in zip(join.inputs, parts, strict=True)]  # fmt: skip
    changed = replace(
        graph,
        inputs=(*(item for item in graph.inputs if item.name != pair.taken), *taken),
        outputs=(*(item for item in graph.outputs if item.name != pair.given), *given),
        nodes=(*passed, *nodes),
    )
    return changed, [Pair(name, part, pair.by)
                     for name, part in zip(names, join.inputs, strict=True)]  # fmt: skip


def _with_size(port: Port, axis: int, size: int) -> tuple[int | str | None, ...]:
    return (*port.shape[:axis], size, *port.shape[axis + 1 :])


def _ranges(node: Node, axis: int, values: Mapping[str, Value]) -> list[_Range] | None:
    """Say what a node reads of its first input along an axis; None if that is not plain."""
    whole = values[node.inputs[0]].shape
    if node.kind == "Split" and int(node.attributes.get("axis", 0)) % len(whole) == axis:
        ends = np.cumsum([values[name].shape[axis] for name in node.outputs]).tolist()
        begins = [0, *ends[:-1]]
        return [_Range(*one) for one in zip(begins, ends, node.outputs, strict=True)]
    if node.kind == "Gather" and int(node.attributes.get("axis", 0)) % len(whole) == axis:
        chosen = values[node.inputs[1]].constant
        if chosen is None or chosen.size != 1:
            return None
        place = int(chosen.ravel()[0]) % whole[axis]
        return [_Range(place, place + 1, node.outputs[0], drops_axis=chosen.ndim == 0)]
    if node.kind == "Slice" and len(node.inputs) > 3:
        starts, ends, axes, strides = (_integers(node, n, values) for n in range(1, 5))
        if not starts or not ends or axes is None or strides not in (None, [1]):
            return None
        if len(axes) == 1 and axes[0] % len(whole) == axis:
            begin, end, _ = slice(starts[0], ends[0]).indices(whole[axis])
            return [_Range(begin, end, node.outputs[0])]
    return None


def _integers(node: Node, place: int, values: Mapping[str, Value]) -> list[int] | None:
    """Return the numbers that an input stands for; None if it is left out or not known."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    known = values[name].constant if name else None
    return None if known is None else [int(item) for item in known.ravel()]
