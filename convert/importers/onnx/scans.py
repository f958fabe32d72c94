"""Scan over time: its body is the step, what it carries from one to the next are states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from convert.errors import UnsupportedLayerError
from convert.importers.onnx.network import Graph, Node
from convert.importers.onnx.rolled import FRAME, FRAMES, LAST, STATE

# The first version whose operator has no axis of a batch of its own.
SCAN_OPSET = 9


def without_scans(graph: Graph) -> Graph:
    """Put the body of each Scan in its place, as one step of the loop over time.

    Raises:
        UnsupportedLayerError: one runs backwards, or is of an old version.
    """
    if not any(node.kind == "Scan" for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    constants = dict(graph.constants)
    for number, node in enumerate(graph.nodes):
        if node.kind != "Scan":
            nodes.append(node)
            continue
        body: Graph = node.attributes["body"]
        constants |= {f"scan{number}/{name}": one for name, one in body.constants.items()}
        nodes += _one_step(node, body, graph.opset, f"scan{number}/")
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _one_step(node: Node, body: Graph, opset: int, prefix: str) -> Iterator[Node]:
    frames = int(node.attributes["num_scan_inputs"])
    count = len(body.inputs) - frames
    outputs = len(body.outputs) - count
    directions = [
        *node.attributes.get("scan_input_directions", []),
        *node.attributes.get("scan_output_directions", []),
    ]
    if opset < SCAN_OPSET or any(directions):
        raise UnsupportedLayerError(
            f"{node.described} "
            + ("runs backwards" if any(directions) else f"is of opset {opset}")
            + ", which a stream cannot follow; export it forwards in time, in opset 9 or later"
        )
    axes = node.attributes.get("scan_input_axes", [0] * frames)
    given_axes = node.attributes.get("scan_output_axes", [0] * outputs)
    own = {port.name for port in body.inputs} | set(body.constants)
    own |= {name for one in body.nodes for name in one.outputs if name}

    def inner(name: str) -> str:
        # Other names are those of the graph around the body.
        return prefix + name if name in own else name

    states = list(zip(node.inputs[:count], body.inputs[:count], body.outputs[:count], strict=True))
    for begin, taken, given in states:
        settings: dict[str, Any] = {"given": inner(given.name)}
        yield Node(STATE, node.name, (begin,), (inner(taken.name),), settings)
    for name, port, axis in zip(node.inputs[count:], body.inputs[count:], axes, strict=True):
        settings = {"axis": int(axis), "squeezed": True}
        yield Node(FRAME, node.name, (name,), (inner(port.name),), settings)
    for one in body.nodes:
        yield replace(
            one, inputs=tuple(map(inner, one.inputs)), outputs=tuple(map(inner, one.outputs))
        )
    # strict=False: outputs at the end may be left out.
    for name, (_, _, given) in zip(node.outputs, states, strict=False):
        if name:
            yield Node(LAST, node.name, (inner(given.name),), (name,), {})
    results = zip(node.outputs[count:], body.outputs[count:], given_axes, strict=False)
    for name, port, axis in results:
        if name:
            wide = f"{inner(port.name)}/{name}"
            yield Node("Unsqueeze", node.name, (inner(port.name),), (wide,), {"axes": [int(axis)]})
            yield Node(FRAMES, node.name, (wide,), (name,), {"axis": int(axis)})
