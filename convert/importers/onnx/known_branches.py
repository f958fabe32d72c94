"""Take the branches of a graph that the sizes of single frames decide, before loops are looked for.

PyTorch's older exporter writes ``frame.squeeze(1)`` as an If on the size of that axis where the
number of steps is free. Of a part of a sequence that is one frame long, that size is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from convert.importers.onnx.network import Graph, Node

# What keeps the shape of the one value that it reads.
SAME_SHAPE = {
    "Abs", "Cast", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg",
    "Relu", "Sigmoid", "Softplus", "Tanh",
}  # fmt: skip


def with_known_branches(
    graph: Graph,
    values: Mapping[str, NDArray[Any]],
    is_one_frame: Callable[[str, int], bool],
) -> Graph:
    """Put the branch that is taken in place of each If that the size of a single frame decides.

    Args:
        values: the constants by name.
        is_one_frame: whether a value of this name is one frame of a sequence along this axis.
    """
    if not any(node.kind == "If" for node in graph.nodes):
        return graph
    makers = {name: node for node in graph.nodes for name in node.outputs}
    constants = dict(graph.constants)

    def size_is_one(name: str, axis: int) -> bool:
        if is_one_frame(name, axis):
            return True
        node = makers.get(name)
        kept = node is not None and node.kind in SAME_SHAPE
        return kept and node is not None and size_is_one(node.inputs[0], axis)

    def is_true(name: str) -> bool:
        """Whether this is Equal(Shape(frame)[axis], 1), which holds."""
        equal = makers.get(name)
        if equal is None or equal.kind != "Equal" or _number(values, equal.inputs[1]) != 1:
            return False
        gather = makers.get(equal.inputs[0])
        axis = None if gather is None else _number(values, gather.inputs[-1])
        if gather is None or gather.kind != "Gather" or axis is None:
            return False
        shape = makers.get(gather.inputs[0])
        return shape is not None and shape.kind == "Shape" and size_is_one(shape.inputs[0], axis)

    def nodes() -> Iterator[Node]:
        for node in graph.nodes:
            if node.kind == "If" and is_true(node.inputs[0]):
                branch: Graph = node.attributes["then_branch"]
                yield from _inlined(node, branch, constants)
            else:
                yield node

    return replace(graph, nodes=tuple(nodes()), constants=constants)


def _number(values: Mapping[str, NDArray[Any]], name: str) -> int | None:
    array = values.get(name)
    return None if array is None or array.size != 1 else int(array.ravel()[0])


def _inlined(node: Node, branch: Graph, constants: dict[str, NDArray[Any]]) -> Iterator[Node]:
    """Return a branch's operators under names of their own, and add its constants."""
    own = {port.name: name for port, name in zip(branch.outputs, node.outputs, strict=True)}
    inner = [*branch.constants, *(name for item in branch.nodes for name in item.outputs if name)]
    renamed = {name: own.get(name, f"{node.outputs[0]}/{name}") for name in inner}
    constants |= {renamed[name]: array for name, array in branch.constants.items()}
    for item in branch.nodes:
        inputs = tuple(renamed.get(name, name) for name in item.inputs)
        outputs = tuple(renamed.get(name, name) for name in item.outputs)
        yield replace(item, inputs=inputs, outputs=outputs)
    for name, output in own.items():
        if name not in renamed:  # the branch hands on a value of the graph around it
            yield Node("Identity", output, (name,), (output,), {})
