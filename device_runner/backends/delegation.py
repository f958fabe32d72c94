"""Read from an interpreter which operators a delegate has taken over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from device_runner.backends.backend import Placement
from device_runner.model.flatbuffer import Graph


def placement_of(interpreter: Any, graph: Graph, accelerator: str) -> Placement | None:
    """Find where an interpreter runs a graph's operators now; None if it does not tell its nodes.

    The interpreter appends one node for each part that a delegate takes, and keeps the nodes that
    it replaces. These are found by going back from the new node's outputs to its inputs.
    """
    if not hasattr(interpreter, "_get_ops_details"):
        return None
    nodes = interpreter._get_ops_details()
    operators = graph.operators
    delegated: set[int] = set()
    for node in nodes[len(operators) :]:
        delegated |= _covered(graph, _tensors(node["inputs"]), _tensors(node["outputs"]))
    return Placement(
        accelerator,
        tuple(op.name for index, op in enumerate(operators) if index in delegated),
        tuple(op.name for index, op in enumerate(operators) if index not in delegated),
    )


def _covered(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> set[int]:
    """Return the numbers of the operators between the tensors ``inputs`` and ``outputs``."""
    makers = {tensor: index for index, op in enumerate(graph.operators) for tensor in op.outputs}
    found: set[int] = set()
    known = set(inputs)
    pending = list(outputs)
    while pending:
        tensor = pending.pop()
        maker = makers.get(tensor)
        if tensor in known or maker is None:
            continue
        known.add(tensor)
        found.add(maker)
        pending.extend(graph.operators[maker].inputs)
    return found


def _tensors(indices: Any) -> list[int]:
    return [int(index) for index in indices]
