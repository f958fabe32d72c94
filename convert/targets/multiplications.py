"""Count an operator's multiplications, in a file that may hold anything."""

from __future__ import annotations

import math

from device_runner.model.flatbuffer import Graph, Operator
from device_runner.operators import OPERATORS


def multiplications(operator: Operator, graph: Graph) -> int:
    """Count the multiplications of an operator with a matrix or a kernel.

    Others count 0: their work is small in comparison."""
    indices = (*operator.outputs[:1], *operator.inputs)
    if not operator.outputs or any(index < 0 for index in indices[:3]):
        return 0
    shapes = [graph.tensors[index].shape for index in indices if index >= 0]
    if len(shapes) < 3 or not all(shapes[:3]) or any(n < 0 for shape in shapes for n in shape):
        return 0
    # A whole sequence's operator is in no step of ours, so the table has no row for it.
    if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return sum(math.prod(shape) for shape in shapes[2:] if len(shape) == 2)
    row = OPERATORS.get(operator.name)
    if row is None:
        return 0
    try:
        return row.multiply_adds(operator, lambda index: graph.tensors[index].shape)
    except IndexError:  # a vector in place of a matrix
        return 0
