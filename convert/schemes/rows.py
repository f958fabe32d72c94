"""Carry the ranges of one row of a step graph over to the graph of several rows.

Both have the same tensors by name, except that the latter repeats a row where it joins what depends
on the input alone with what depends on a state. The rows are on the grid of what they repeat, so
each row's integers are those of the row alone.
"""

from __future__ import annotations

from dataclasses import replace

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from device_runner.model.flatbuffer import Graph, Operator

# What moves values without computing with them: they keep their range.
MOVES = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE")


def repeats(operator: Operator, graph: Graph) -> bool:
    """Tell whether an operator repeats rows that the step computes."""
    return operator.name == "GATHER" and not graph.tensors[operator.inputs[0]].constant_bytes


def repeated(ranges: Ranges, graph: Graph) -> Ranges:
    """Add the ranges of the rows that ``graph``, of several rows, repeats.

    Raises:
        ContractViolationError: the graph computes something else that a single row does not.
    """
    tensors = dict(ranges.tensors)
    moments = dict(ranges.moments)
    for operator in graph.operators:
        given = graph.tensors[operator.inputs[0]].name if operator.inputs else ""
        name = graph.tensors[operator.outputs[0]].name if operator.outputs else ""
        moves = operator.name in MOVES and name not in tensors
        if (moves or repeats(operator, graph)) and given in tensors:
            tensors[name] = replace(tensors[given], role="activation")
            if given in moments:
                moments[name] = moments[given]
        for index in operator.outputs:
            tensor = graph.tensors[index]
            if tensor.dtype == "float32" and tensor.name not in tensors:
                raise ContractViolationError(
                    f"several windows at once compute '{tensor.name[:80]}', which a single one "
                    "does not, so its range is not known; use the scheme dynamic or float32"
                )
    return replace(ranges, tensors=tensors, moments=moments)
