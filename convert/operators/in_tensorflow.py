"""Operators in TensorFlow, over a batch and with gradients, for quantization-aware training.

Each function takes the step graph's operator, its operands (without those that are left out) and
the shapes of the step graph's tensors. In the graph the batch, the first axis, is 1; here it is any
number. The fused activation comes after it, see :data:`ACTIVATE`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from convert.errors import UnsupportedLayerError
from device_runner.model.flatbuffer import Operator
from device_runner.operators.images import SAME, window
from device_runner.operators.row import ShapeOf

Simulate = Callable[[Operator, Sequence[Any], ShapeOf], Sequence[Any]]

# Keys are the names in device_runner.operators.row.ACTIVATIONS.
ACTIVATE: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda values: values,
    "RELU": tf.nn.relu,
    "RELU_N1_TO_1": lambda values: tf.clip_by_value(values, -1.0, 1.0),
    "RELU6": tf.nn.relu6,
    "TANH": tf.tanh,
}


def _elementwise(function: Callable[..., Any]) -> Simulate:
    def simulate(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
        return [function(*operands)]

    return simulate


def _concatenation(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    return [tf.concat(operands, int(operator.options["axis"]))]


def _fully_connected(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    rows, matrix, *bias = operands
    if not operator.options["keep_num_dims"]:
        # The operator merges the leading axes.
        rows = tf.reshape(rows, (-1, matrix.shape[-1]))
    result = tf.matmul(rows, matrix, transpose_b=True)
    return [result + bias[0] if bias else result]


def _gather(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    table, positions = operands
    return [tf.gather(table, positions)]


def _reshape(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    return [tf.reshape(operands[0], (-1, *shape(operator.outputs[0])[1:]))]


def _split(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    axis, values = operands
    return list(tf.split(values, len(operator.outputs), axis=int(tf.get_static_value(axis).item())))


def _strided_slice(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    masks = {name: int(value) for name, value in operator.options.items() if name != "offset"}
    # The batch is taken whole.
    masks["begin_mask"] |= 1
    masks["end_mask"] |= 1
    return [tf.strided_slice(*operands, **masks)]


def _sum(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    values, axes = operands
    chosen = tf.get_static_value(axes).ravel().tolist()
    if {0, -len(shape(operator.inputs[0]))} & set(chosen):
        raise UnsupportedLayerError(
            "SUM over the batch is not simulated, as training has many sequences in it; "
            "quantize after training"
        )
    return [tf.reduce_sum(values, chosen, keepdims=bool(operator.options["keep_dims"]))]


def _mean(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    values, axes = operands
    chosen = tf.get_static_value(axes).ravel().tolist()
    if {0, -len(shape(operator.inputs[0]))} & set(chosen):
        raise UnsupportedLayerError(
            "MEAN over the batch is not simulated, as training has many sequences in it; "
            "quantize after training"
        )
    return [tf.reduce_mean(values, chosen, keepdims=bool(operator.options["keep_dims"]))]


def _strides_of(operator: Operator) -> tuple[int, int]:
    return int(operator.options["stride_h"]), int(operator.options["stride_w"])


def _padding_of(operator: Operator) -> str:
    return "SAME" if operator.options["padding"] == SAME else "VALID"


def _convolution(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    values, kernel, *bias = operands
    result = tf.nn.conv2d(
        values,
        _dilated(operator, tf.transpose(kernel, (1, 2, 3, 0))),
        _strides_of(operator),
        _padding_of(operator),
    )
    return [result + bias[0] if bias else result]


def _dilated(operator: Operator, kernel: Any) -> Any:
    """Put zeros between the places of a kernel [height, width, ...] that is dilated.

    On a CPU, TensorFlow has no gradient of a dilated convolution."""
    for axis, name in enumerate(("dilation_h", "dilation_w")):
        dilation, places = int(operator.options[name]), int(kernel.shape[axis])
        if dilation > 1:
            around = [(0, 0)] * (len(kernel.shape) + 1)
            around[axis + 1] = 0, dilation - 1
            apart = tf.pad(tf.expand_dims(kernel, axis + 1), around)
            shape = list(kernel.shape)
            shape[axis] = places * dilation
            kernel = tf.reshape(apart, shape)
            reach = (places - 1) * dilation + 1
            kernel = kernel[:reach] if axis == 0 else kernel[:, :reach]
    return kernel


def _depthwise_convolution(
    operator: Operator, operands: Sequence[Any], shape: ShapeOf
) -> Sequence[Any]:
    values, kernel, *bias = operands
    channels = shape(operator.inputs[0])[-1]
    _, high, wide, outputs = shape(operator.inputs[1])
    own = _dilated(operator, tf.reshape(kernel, (high, wide, channels, outputs // channels)))
    strides = _strides_of(operator)
    if strides[0] != strides[1]:  # TensorFlow strides alike in both directions: take every n-th
        whole = tf.nn.depthwise_conv2d(
            _padded(operator, values, (high, wide)), own, (1, 1, 1, 1), "VALID"
        )
        result = whole[:, :: strides[0], :: strides[1]]
    else:
        result = tf.nn.depthwise_conv2d(values, own, (1, *strides, 1), _padding_of(operator))
    return [result + bias[0] if bias else result]


def _padded(operator: Operator, values: Any, sizes: tuple[int, int]) -> Any:
    high = window(operator, int(values.shape[1]), sizes[0], "h")
    wide = window(operator, int(values.shape[2]), sizes[1], "w")
    return tf.pad(values, ((0, 0), (high.before, high.after), (wide.before, wide.after), (0, 0)))


def _pool(function: Callable[..., Any]) -> Simulate:
    def simulate(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
        size = int(operator.options["filter_h"]), int(operator.options["filter_w"])
        return [function(operands[0], size, _strides_of(operator), _padding_of(operator))]

    return simulate


def _transposed_convolution(
    operator: Operator, operands: Sequence[Any], shape: ShapeOf
) -> Sequence[Any]:
    _, kernel, values, *bias = operands
    result = tf.nn.conv2d_transpose(
        values,
        tf.transpose(kernel, (1, 2, 0, 3)),
        (tf.shape(values)[0], *shape(operator.outputs[0])[1:]),
        _strides_of(operator),
        _padding_of(operator),
    )
    return [result + bias[0] if bias else result]


def _resize(function: Callable[..., Any]) -> Simulate:
    def simulate(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
        size = tf.constant(shape(operator.outputs[0])[1:3], tf.int32)
        how = {
            "align_corners": bool(operator.options["align_corners"]),
            "half_pixel_centers": bool(operator.options["half_pixel"]),
        }
        return [function(images=operands[0], size=size, **how)]

    return simulate


def _softmax(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    (values,), beta = operands, operator.options["beta"]
    return [tf.nn.softmax(values if beta == 1 else values * beta)]


# Every operator with an int8 form is here, so that what can be quantized can be trained.
SIMULATED: dict[str, Simulate] = {
    "ADD": _elementwise(tf.add),
    "AVERAGE_POOL_2D": _pool(tf.nn.avg_pool2d),
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise_convolution,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "LOGISTIC": _elementwise(tf.sigmoid),
    "MAXIMUM": _elementwise(tf.maximum),
    "MAX_POOL_2D": _pool(tf.nn.max_pool2d),
    "MEAN": _mean,
    "MUL": _elementwise(tf.multiply),
    "PAD": _elementwise(tf.pad),
    "RELU": _elementwise(tf.nn.relu),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize(tf.raw_ops.ResizeBilinear),
    "RESIZE_NEAREST_NEIGHBOR": _resize(tf.raw_ops.ResizeNearestNeighbor),
    "RSQRT": _elementwise(tf.math.rsqrt),
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elementwise(tf.subtract),
    "SUM": _sum,
    "TANH": _elementwise(tf.tanh),
    "TRANSPOSE": _elementwise(tf.transpose),
    "TRANSPOSE_CONV": _transposed_convolution,
}
