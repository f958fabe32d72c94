"""Join operators that one product of the step computes, before a graph is followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from convert.importers.onnx.network import Graph, Node


def simplified(graph: Graph) -> Graph:
    """Put the bias that is added to a product of weights into the product, as its third input."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(port.name for port in graph.outputs)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    values = dict(graph.constants)
    values |= {
        node.outputs[0]: np.asarray(node.attributes["value"])
        for node in graph.nodes
        if node.kind == "Constant" and "value" in node.attributes
    }
    gone: set[str] = set()
    joined: dict[str, Node] = {}
    for node in graph.nodes:
        if node.kind != "Add" or len(node.inputs) != 2:
            continue
        for value, bias in (node.inputs, node.inputs[::-1]):
            product = makers.get(value)
            if (
                product is None or product.kind != "MatMul" or len(product.inputs) != 2
                or uses[value] != 1 or bias not in values or product.inputs[1] not in values
            ):  # fmt: skip
                continue
            weights, shift = values[product.inputs[1]], values[bias]
            if weights.ndim == 2 and shift.shape == (weights.shape[1],):
                gone.add(value)
                joined[node.outputs[0]] = replace(
                    product, inputs=(*product.inputs, bias), outputs=node.outputs
                )
                break
    nodes = [
        joined.get(node.outputs[0], node) for node in graph.nodes if node.outputs[0] not in gone
    ]
    return replace(graph, nodes=tuple(nodes))
