"""Rules that an operator must keep to map onto a target; the profiles name them.

A rule gets the operator, the graph and the file's bytes. It returns the reason why the operator
breaks it, or None. A file may hold anything, so a rule reads only what is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, Operator, Tensor

Rule = Callable[[Operator, Graph, bytes], str | None]

# The longest softmax that the Edge TPU takes.
SOFTMAX_LIMIT = 16_000


def _input(operator: Operator, graph: Graph, number: int) -> Tensor | None:
    if number >= len(operator.inputs) or operator.inputs[number] < 0:
        return None
    return graph.tensors[operator.inputs[number]]


def _output(operator: Operator, graph: Graph) -> Tensor | None:
    if not operator.outputs or operator.outputs[0] < 0:
        return None
    return graph.tensors[operator.outputs[0]]


def _integers(tensor: Tensor | None, data: bytes) -> NDArray[np.int64] | None:
    """Read the values of a constant of indices, flat; None if it is not such a constant."""
    if tensor is None or not tensor.constant_bytes:
        return None
    try:
        values = read_constant(data, tensor)
    except BadModelError:
        return None
    return values.ravel() if values.dtype == np.int64 else None


def _no_activation(operator: Operator, graph: Graph, data: bytes) -> str | None:
    fused = operator.options.get("activation", 0)
    return "has a fused activation function" if fused else None


def _zero_padding(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
    constants = [tensor for tensor in tensors if tensor.constant_bytes]
    if not constants:
        return None
    if len(tensors) > 2:
        return "has a constant among more than two inputs"
    for tensor in constants:
        zero = tensor.zero_points[0] if tensor.zero_points else 0
        stored = data[tensor.constant_start : tensor.constant_start + tensor.constant_bytes]
        if set(stored) - {zero % 256}:
            return "has a constant input that is not all zeros"
    return None


def _default_weights(operator: Operator, graph: Graph, data: bytes) -> str | None:
    shuffled = operator.options.get("weights_format", 0)
    return "has its weights in another format than the default" if shuffled else None


def _output_of_one_axis(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor = _output(operator, graph)
    if tensor is None or math.prod(tensor.shape[:-1]) == 1:
        return None
    return f"its output {list(tensor.shape)} has more than one axis"


def _softmax(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor = _input(operator, graph, 0)
    if tensor is None:
        return None
    if math.prod(tensor.shape[:-1]) != 1:
        return f"its input {list(tensor.shape)} has more than one axis"
    if math.prod(tensor.shape) > SOFTMAX_LIMIT:
        return f"its input has more than {SOFTMAX_LIMIT:,} elements"
    return None


def _not_over_batch(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor, axes = _input(operator, graph, 0), _integers(_input(operator, graph, 1), data)
    if tensor is None or axes is None:
        return "its axes are not constant"
    rank = len(tensor.shape)
    return "reduces the batch" if any(axis in (0, -rank) for axis in axes) else None


def _not_along_batch(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor = _output(operator, graph)
    axis = operator.options.get("axis", 0)
    rank = len(tensor.shape) if tensor else 0
    return "works along the batch" if axis in (0, -rank) else None


def _not_split_along_batch(operator: Operator, graph: Graph, data: bytes) -> str | None:
    axes, tensor = _integers(_input(operator, graph, 0), data), _input(operator, graph, 1)
    if tensor is None or axes is None:
        return "its axis is not constant"
    return "splits the batch" if any(axis in (0, -len(tensor.shape)) for axis in axes) else None


def _strides(operator: Operator, graph: Graph, data: bytes) -> NDArray[np.int64] | None:
    return _integers(_input(operator, graph, 3), data)


def _unit_strides(operator: Operator, graph: Graph, data: bytes) -> str | None:
    strides = _strides(operator, graph, data)
    return None if strides is not None and (strides == 1).all() else "has strides other than 1"


def _forward_strides(operator: Operator, graph: Graph, data: bytes) -> str | None:
    strides = _strides(operator, graph, data)
    return None if strides is not None and (strides > 0).all() else "goes backwards"


def _no_new_axes(operator: Operator, graph: Graph, data: bytes) -> str | None:
    options = operator.options
    wrong = options.get("ellipsis_mask", 0) or options.get("new_axis_mask", 0)
    return "has an ellipsis or adds an axis" if wrong else None


def _keeps_axes(operator: Operator, graph: Graph, data: bytes) -> str | None:
    if operator.options.get("shrink_axis_mask", 0):
        return "takes an axis away (shrink_axis_mask); slice it and RESHAPE instead"
    return _no_new_axes(operator, graph, data)


def _flat_indices(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor = _input(operator, graph, 1)
    if tensor is None or len(tensor.shape) == 1:
        return None
    return f"its indices {list(tensor.shape)} have more than one axis; RESHAPE them"


def _three_axes(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensor = _input(operator, graph, 0)
    if tensor is None or len(tensor.shape) >= 3:
        return None
    return f"its input {list(tensor.shape)} has fewer than three axes"


def _no_hybrid(operator: Operator, graph: Graph, data: bytes) -> str | None:
    tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
    if operator.name == "DEQUANTIZE":
        half = any(tensor.dtype == "float16" for tensor in tensors)
        return "has float16 weights, for which there is no kernel" if half else None
    moving = [tensor for tensor in tensors if not tensor.constant_bytes]
    narrow = [tensor for tensor in tensors if tensor.constant_bytes and tensor.dtype in _NARROW]
    if narrow and any(tensor.dtype == "float32" for tensor in moving):
        return f"has {narrow[0].dtype} weights and float32 activations"
    return None


_NARROW = ("int8", "uint8", "int4")


def _no_sparse(operator: Operator, graph: Graph, data: bytes) -> str | None:
    sparse = any(graph.tensors[index].sparse for index in operator.inputs if index >= 0)
    return "has weights in sparse encoding" if sparse else None


OPERATOR_RULES: dict[str, Rule] = {
    "no-activation": _no_activation,
    "constant-only-as-zero-padding": _zero_padding,
    "default-weights-format": _default_weights,
    "output-of-one-axis": _output_of_one_axis,
    "softmax-of-one-axis": _softmax,
    "not-over-batch": _not_over_batch,
    "not-along-batch": _not_along_batch,
    "not-split-along-batch": _not_split_along_batch,
    "unit-strides": _unit_strides,
    "forward-strides": _forward_strides,
    "no-new-axes": _no_new_axes,
    "keeps-axes": _keeps_axes,
    "indices-of-one-axis": _flat_indices,
    "three-axes": _three_axes,
    "no-hybrid-weights": _no_hybrid,
    "no-sparse-weights": _no_sparse,
}
