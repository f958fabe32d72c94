"""Count an operator's multiplications, in a file that may hold anything."""

from __future__ import annotations

import math

from device_runner.model.flatbuffer import Graph, Operator


def multiplications(operator: Operator, graph: Graph) -> int:
    """Count the multiplications of an operator with a matrix or a kernel.

    Others count 0: their work is small in comparison."""
    indices = (*operator.outputs[:1], *operator.inputs)
    if not operator.outputs or any(index < 0 for index in indices[:3]):
        return 0
    shapes = [graph.tensors[index].shape for index in indices if index >= 0]
    if len(shapes) < 3 or not all(shapes[:3]) or any(n < 0 for shape in shapes for n in shape):
        return 0
    out, data, weights = shapes[:3]
    if operator.name == "FULLY_CONNECTED":
        return math.prod(out[:-1]) * math.prod(weights)
    if operator.name == "BATCH_MATMUL":
        return math.prod(out) * data[-1]
    if operator.name == "CONV_2D":
        return math.prod(out) * math.prod(weights[1:])
    if operator.name == "DEPTHWISE_CONV_2D":
        return math.prod(out) * math.prod(weights[1:-1])
    if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return sum(math.prod(shape) for shape in shapes[2:] if len(shape) == 2)
    return 0
