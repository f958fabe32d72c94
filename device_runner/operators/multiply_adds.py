"""Count the multiply-adds of a step's products from its graph."""

from __future__ import annotations

from device_runner.model.flatbuffer import Graph
from device_runner.model.step_file import StepModel
from device_runner.operators import OPERATORS


def mean_multiply_adds(model: StepModel) -> int:
    """Return a step's :func:`multiply_adds`, the mean over a cycle's phases."""
    counts = {name: multiply_adds(graph) for name, graph in model.phase_graphs.items()}
    phases = model.contract.phases
    return round(sum(counts[name] for name in phases) / len(phases))


def multiply_adds(graph: Graph) -> int:
    """Count the multiply-adds of one step in matrix products and convolutions."""

    def shape(index: int) -> tuple[int, ...]:
        return graph.tensors[index].shape

    return sum(
        OPERATORS[operator.name].multiply_adds(operator, shape)
        for operator in graph.operators
        if operator.name in OPERATORS
    )
