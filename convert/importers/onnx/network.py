"""An ONNX graph in plain types: named values, constants, and nodes with decoded attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import SourceModelError, UnsupportedLayerError
from device_runner.errors import one_line

# A size, an axis' name, or None where neither is known.
Dimension = int | str | None

# Domains whose operators are those of the standard.
STANDARD = ("", "ai.onnx")
# Operators of ONNX Runtime's own domain that have a row in our table.
CONTRIBUTED = ("Gelu", "FusedGelu", "QuickGelu", "FusedMatMul", "LayerNormalization",
               "SimplifiedLayerNormalization", "FusedConv", "FusedGemm")  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One call of an operator. An input or output that is left out has the name ""."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def described(self) -> str:
        """Name the node as error messages do."""
        return f"operator '{(self.name or self.outputs[0])[:80]}' ({self.kind})"


@dataclass(frozen=True)
class Port:
    """An input or output of the network."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dimension, ...]


@dataclass(frozen=True)
class Graph:
    """A graph, or the branch of an If, which also sees the names of the graph around it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    constants: dict[str, NDArray[Any]]
    nodes: tuple[Node, ...]
    opset: int

    def port(self, name: str) -> Port | None:
        """Find an input or output by its name."""
        return next((item for item in (*self.inputs, *self.outputs) if item.name == name), None)


def read_graph(graph: Any, opset: int) -> Graph:
    """Decode a GraphProto.

    Raises:
        UnsupportedLayerError: an operator is of a domain that is not known.
        SourceModelError: a value has a type that no network here has.
    """
    constants = {item.name: _array(item) for item in graph.initializer}
    if graph.sparse_initializer:
        raise UnsupportedLayerError("the graph has sparse constants; save it with dense weights")
    return Graph(
        tuple(_port(item) for item in graph.input if item.name not in constants),
        tuple(_port(item) for item in graph.output),
        constants,
        tuple(_node(item, opset) for item in graph.node),
        opset,
    )


def _array(tensor: Any) -> NDArray[Any]:
    """Decode a tensor; real numbers as float32, which a step computes with."""
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    # Fields that do not belong to its type, types that NumPy has not.
    except (ValueError, TypeError, KeyError) as error:
        raise SourceModelError(
            f"constant '{tensor.name[:80]}' is damaged ({one_line(error)}); export the network "
            "again"
        ) from error
    real = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32) if real else array


def _port(value: Any) -> Port:
    from onnx import helper

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        # A branch's outputs often have no type.
        return Port(value.name, np.dtype(np.float32), ())
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, TypeError) as error:
        raise SourceModelError(f"'{value.name}' has a type that is not known") from error
    shape: list[Dimension] = []
    for axis in kind.shape.dim:
        which = axis.WhichOneof("value")
        size = axis.dim_value if which == "dim_value" else axis.dim_param or None
        # Some exporters write -1 or 0 for a size that is not known.
        shape.append(None if isinstance(size, int) and size < 1 else size)
    return Port(value.name, dtype, tuple(shape))


def _node(item: Any, opset: int) -> Node:
    if item.domain not in STANDARD and item.op_type not in CONTRIBUTED:
        raise UnsupportedLayerError(
            f"operator '{item.name or item.op_type}' ({item.op_type}) is of the domain "
            f"'{item.domain[:60]}', whose code is not in the file; export the network with "
            "standard operators alone"
        )
    attributes = {one.name: _attribute(one, opset) for one in item.attribute}
    return Node(item.op_type, item.name, tuple(item.input), tuple(item.output), attributes)


def _attribute(attribute: Any, opset: int) -> Any:
    from onnx import AttributeProto, helper

    if attribute.type == AttributeProto.GRAPH:
        return read_graph(attribute.g, opset)
    if attribute.type == AttributeProto.TENSOR:
        return _array(attribute.t)
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple) or hasattr(value, "__iter__"):
        return [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in value
        ]
    return value
