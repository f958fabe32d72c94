"""Carry the ranges of one row of a step graph over to the graph of several rows.

Both have the same tensors by name, except that the latter repeats a row where it joins what depends
on the input alone with what depends on a state. The rows are on the grid of what they repeat, so
each row's integers are those of the row alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from device_runner.model.flatbuffer import Graph, Operator

# What moves values without computing with them: they keep their range.
MOVES = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE")


def repeats(operator: Operator, graph: Graph) -> bool:
    """Tell whether an operator repeats rows that the step computes."""
    return operator.name == "GATHER" and not graph.tensors[operator.inputs[0]].constant_bytes


def repeated(ranges: Ranges, graph: Graph, row: Graph) -> Ranges:
    """Add the ranges of the rows that ``graph``, of several rows, repeats.

    Names may differ where the axes do. So what has none in ``row`` is found by what computes it:
    the same operator of the same values.

    Args:
        ranges: those of ``row``, the graph of a single row.

    Raises:
        ContractViolationError: the graph computes something else that a single row does not.
    """
    tensors = dict(ranges.tensors)
    moments = dict(ranges.moments)
    computed = _computed(row)
    # The tensor of the single row that a tensor stands for, by name.
    stands_for: dict[str, str] = {}

    def take(name: str, source: str) -> None:
        tensors[name] = replace(tensors[source], role="activation")
        if source in moments:
            moments[name] = moments[source]

    for operator in graph.operators:
        names = [graph.tensors[index].name for index in operator.outputs]
        given = graph.tensors[operator.inputs[0]].name if operator.inputs else ""
        moves = operator.name in MOVES and names[0] not in tensors
        if (moves or repeats(operator, graph)) and given in tensors:
            take(names[0], given)
            stands_for[names[0]] = stands_for.get(given, given)
            continue
        sources = computed.get(_key(operator, graph, stands_for), ())
        for place, index in enumerate(operator.outputs):
            tensor = graph.tensors[index]
            if tensor.dtype != "float32" or tensor.name in tensors:
                continue
            if place >= len(sources) or sources[place] not in tensors:
                raise ContractViolationError(
                    f"several windows at once compute '{tensor.name[:80]}', which a single one "
                    "does not, so its range is not known; use the scheme dynamic or float32"
                )
            take(tensor.name, sources[place])
            stands_for[tensor.name] = sources[place]
    return replace(ranges, tensors=tensors, moments=moments)


# An operator, the values that it computes with, and its options.
_Key = tuple[str, tuple[str, ...], str]


def _key(operator: Operator, graph: Graph, stands_for: Mapping[str, str]) -> _Key:
    read = [graph.tensors[index] for index in operator.inputs if index >= 0]
    names = tuple(stands_for.get(item.name, item.name) for item in read if not item.constant_bytes)
    return operator.name, names, repr(sorted(operator.options.items()))


def _computed(row: Graph) -> dict[_Key, tuple[str, ...]]:
    """List what a graph of a single row computes, by operator and values; what is alike, not."""
    moved: dict[str, str] = {}
    found: dict[_Key, list[tuple[str, ...]]] = {}
    for operator in row.operators:
        names = tuple(row.tensors[index].name for index in operator.outputs)
        if operator.name in MOVES and operator.inputs:
            given = row.tensors[operator.inputs[0]].name
            moved[names[0]] = moved.get(given, given)
        else:
            found.setdefault(_key(operator, row, moved), []).append(names)
    return {key: several[0] for key, several in found.items() if len(several) == 1}
