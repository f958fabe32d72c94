"""What a step computes: the multiply-adds of its products, counted from the graph."""

from __future__ import annotations

import math

from device_runner.model.flatbuffer import Graph, Operator
from device_runner.model.step_file import StepModel


def mean_multiply_adds(model: StepModel) -> int:
    """Multiply-adds of a step as in :func:`multiply_adds`, the mean of a cycle's phases."""
    counts = {name: multiply_adds(graph) for name, graph in model.phase_graphs.items()}
    phases = model.contract.phases
    return round(sum(counts[name] for name in phases) / len(phases))


def multiply_adds(graph: Graph) -> int:
    """Multiply-adds of one step in matrix products and convolutions; what is done element by
    element is not counted, as is the custom."""
    return sum(_of_operator(graph, operator) for operator in graph.operators)


def _of_operator(graph: Graph, operator: Operator) -> int:
    def shape(index: int) -> tuple[int, ...]:
        return graph.tensors[index].shape

    if operator.name == "FULLY_CONNECTED":
        outputs = math.prod(shape(operator.outputs[0]))
        return outputs * shape(operator.inputs[1])[-1]
    if operator.name == "BATCH_MATMUL":
        inner = shape(operator.inputs[0])[-2 if operator.options.get("adj_x") else -1]
        return math.prod(shape(operator.outputs[0])) * inner
    if operator.name == "CONV_2D":
        return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:])
    if operator.name == "DEPTHWISE_CONV_2D":
        return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:3])
    return 0
