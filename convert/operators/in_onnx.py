"""Lower a step graph's operators to ONNX.

Each function adds its nodes to an :class:`convert.exporters.onnx_graph.OnnxGraph`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convert.errors import NotExportableError
from convert.exporters.onnx_graph import OnnxGraph
from convert.operators import images_in_onnx as images
from device_runner.model.flatbuffer import Operator
from device_runner.operators.shapes import strided_slice_parts

# The end of a slice that runs backwards past the first element.
BEFORE_THE_FIRST = np.iinfo(np.int64).min

Lower = Callable[[OnnxGraph, Operator], None]


def _same(kind: str) -> Lower:
    """Lower an operator that ONNX has under another name."""

    def lower(to: OnnxGraph, operator: Operator) -> None:
        to.add(kind, [to.name(index) for index in operator.inputs], to.name(operator.outputs[0]))

    return lower


def _activated(kind: str) -> Lower:
    def lower(to: OnnxGraph, operator: Operator) -> None:
        to.add_activated(operator, kind, [to.name(index) for index in operator.inputs])

    return lower


def _fully_connected(to: OnnxGraph, operator: Operator) -> None:
    x, weights, *bias = (index for index in operator.inputs if index >= 0)
    _, width = to.shape(weights)
    name = to.name(x)
    if len(to.shape(x)) != 2 or to.shape(x)[1] != width:
        name = to.reshaped(name, (-1, width))
    operands = [name, to.name(weights), *(to.name(index) for index in bias)]
    (output,) = operator.outputs
    if len(to.shape(output)) == 2:
        to.add_activated(operator, "Gemm", operands, transB=1)
        return
    # The activation works element by element, so it can come after the reshape.
    to.add_activated(
        operator,
        "Reshape",
        [to.add("Gemm", operands, transB=1), to.constant(to.shape(output), np.int64)],
    )


def _gather(to: OnnxGraph, operator: Operator) -> None:
    if operator.options["batch_dims"]:
        raise NotExportableError(
            f"{to.model.path}: GATHER within a batch has no ONNX form here; "
            "add it to convert/operators/in_onnx.py"
        )
    names = [to.name(index) for index in operator.inputs]
    output = to.name(operator.outputs[0])
    to.add("Gather", names, output, axis=int(operator.options["axis"]))


def _batch_matmul(to: OnnxGraph, operator: Operator) -> None:
    operands = []
    for index, adjoint in zip(operator.inputs, ("adj_x", "adj_y"), strict=True):
        name = to.name(index)
        if operator.options[adjoint]:
            *order, last, before = range(len(to.shape(index)))
            name = to.add("Transpose", [name], perm=[*order, before, last])
        operands.append(name)
    to.add("MatMul", operands, to.name(operator.outputs[0]))


def _split(to: OnnxGraph, operator: Operator) -> None:
    axis_index, x = operator.inputs
    (axis,) = to.integers(axis_index)
    sizes = [to.shape(index)[axis] for index in operator.outputs]
    node = to.onnx.helper.make_node(
        "Split",
        [to.name(x), to.constant(sizes, np.int64)],
        [to.name(index) for index in operator.outputs],
        axis=axis,
    )
    to.nodes.append(node)


def _concatenation(to: OnnxGraph, operator: Operator) -> None:
    names = [to.name(index) for index in operator.inputs]
    to.add_activated(operator, "Concat", names, axis=int(operator.options["axis"]))


def _sum(to: OnnxGraph, operator: Operator) -> None:
    x, axes = operator.inputs
    to.add(
        "ReduceSum",
        [to.name(x), to.constant(to.integers(axes), np.int64)],
        to.name(operator.outputs[0]),
        keepdims=int(operator.options["keep_dims"]),
        noop_with_empty_axes=1,
    )


def _mean(to: OnnxGraph, operator: Operator) -> None:
    names, axes = [to.name(operator.inputs[0])], to.integers(operator.inputs[1])
    output = to.name(operator.outputs[0])
    if not axes:  # ONNX would take the mean over all of them
        to.add("Identity", names, output)
        return
    keepdims = int(operator.options["keep_dims"])
    to.add("ReduceMean", names, output, axes=axes, keepdims=keepdims)


def _reshape(to: OnnxGraph, operator: Operator) -> None:
    (output,) = operator.outputs
    to.reshaped(to.name(operator.inputs[0]), to.shape(output), to.name(output))


def _transpose(to: OnnxGraph, operator: Operator) -> None:
    x, order = operator.inputs
    to.add("Transpose", [to.name(x)], to.name(operator.outputs[0]), perm=to.integers(order))


def _slice(to: OnnxGraph, operator: Operator) -> None:
    begins, sizes = operator.inputs[1:]
    parts = [
        slice(begin, None if size == -1 else begin + size)
        for begin, size in zip(to.integers(begins), to.integers(sizes), strict=True)
    ]
    _add_slice(to, operator, parts)


def _strided_slice(to: OnnxGraph, operator: Operator) -> None:
    limits = [to.integers(index) for index in operator.inputs[1:]]
    parts = [
        # An axis that is removed is sliced at its one index; the new shape removes it.
        slice(part, part + 1 or None) if isinstance(part, int) else part
        for part in strided_slice_parts(operator, *limits)
    ]
    _add_slice(to, operator, parts)


def _add_slice(to: OnnxGraph, operator: Operator, parts: Sequence[slice]) -> None:
    x, (output,) = operator.inputs[0], operator.outputs
    # strict=False: axes that are not named are taken whole.
    ranges = [part.indices(n) for part, n in zip(parts, to.shape(x), strict=False)]
    starts, ends, steps = zip(*ranges, strict=True)
    operands = [
        starts,
        [BEFORE_THE_FIRST if end < 0 else end for end in ends],
        range(len(ranges)),
        steps,
    ]
    sliced = to.add("Slice", [to.name(x), *(to.constant(v, np.int64) for v in operands)])
    to.reshaped(sliced, to.shape(output), to.name(output))


def _rsqrt(to: OnnxGraph, operator: Operator) -> None:
    root = to.add("Sqrt", [to.name(operator.inputs[0])])
    to.add("Reciprocal", [root], to.name(operator.outputs[0]))


def _softmax(to: OnnxGraph, operator: Operator) -> None:
    beta = to.constant(operator.options["beta"], np.float32)
    scaled = to.add("Mul", [to.name(operator.inputs[0]), beta])
    to.add("Softmax", [scaled], to.name(operator.outputs[0]), axis=-1)


def _leaky_relu(to: OnnxGraph, operator: Operator) -> None:
    alpha = float(operator.options["alpha"])
    to.add("LeakyRelu", [to.name(operator.inputs[0])], to.name(operator.outputs[0]), alpha=alpha)


def _gelu(to: OnnxGraph, operator: Operator) -> None:
    if operator.options["approximate"]:
        raise NotExportableError(
            f"{to.model.path}: GELU by a hyperbolic tangent has no ONNX form here; "
            "add it to convert/operators/in_onnx.py"
        )
    x = to.name(operator.inputs[0])
    root, one, half = (to.constant(value, np.float32) for value in (np.sqrt(0.5), 1.0, 0.5))
    twice_phi = to.add("Add", [to.add("Erf", [to.add("Mul", [x, root])]), one])
    to.add("Mul", [to.add("Mul", [x, half]), twice_phi], to.name(operator.outputs[0]))


def _log_softmax(to: OnnxGraph, operator: Operator) -> None:
    to.add("LogSoftmax", [to.name(operator.inputs[0])], to.name(operator.outputs[0]), axis=-1)


def _relu6(to: OnnxGraph, operator: Operator) -> None:
    limits = [to.constant(limit, np.float32) for limit in (0.0, 6.0)]
    to.add("Clip", [to.name(operator.inputs[0]), *limits], to.name(operator.outputs[0]))


LOWERINGS: dict[str, Lower] = {
    "ABS": _same("Abs"),
    "ADD": _activated("Add"),
    "AVERAGE_POOL_2D": images.pooling("AveragePool"),
    "BATCH_MATMUL": _batch_matmul,
    "CONCATENATION": _concatenation,
    "CONV_2D": images.convolution,
    "DEPTHWISE_CONV_2D": images.depthwise_convolution,
    "DIV": _activated("Div"),
    "ELU": _same("Elu"),
    "EXP": _same("Exp"),
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "GELU": _gelu,
    "LEAKY_RELU": _leaky_relu,
    "LOG": _same("Log"),
    "LOGISTIC": _same("Sigmoid"),
    "LOG_SOFTMAX": _log_softmax,
    "MAXIMUM": _same("Max"),
    "MAX_POOL_2D": images.pooling("MaxPool"),
    "MEAN": _mean,
    "MINIMUM": _same("Min"),
    "MUL": _activated("Mul"),
    "NEG": _same("Neg"),
    "PAD": images.pad,
    "RELU": _same("Relu"),
    "RELU6": _relu6,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": images.resize("linear"),
    "RESIZE_NEAREST_NEIGHBOR": images.resize("nearest"),
    "RSQRT": _rsqrt,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "SQRT": _same("Sqrt"),
    "STRIDED_SLICE": _strided_slice,
    "SUB": _activated("Sub"),
    "SUM": _sum,
    "TANH": _same("Tanh"),
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": images.transposed_convolution,
}

# Why some operators of the reference have no ONNX form here, and what to do.
WITHOUT_FORM = dict.fromkeys(
    ("DEQUANTIZE", "QUANTIZE"),
    "only quantized graphs have it: export the network as float32",
)
