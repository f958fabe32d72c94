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


def _softmax(operator: Operator, operands: Sequence[Any], shape: ShapeOf) -> Sequence[Any]:
    (values,), beta = operands, operator.options["beta"]
    return [tf.nn.softmax(values if beta == 1 else values * beta)]


# Every operator with an int8 form is here, so that what can be quantized can be trained.
SIMULATED: dict[str, Simulate] = {
    "ADD": _elementwise(tf.add),
    "CONCATENATION": _concatenation,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "LOGISTIC": _elementwise(tf.sigmoid),
    "MAXIMUM": _elementwise(tf.maximum),
    "MUL": _elementwise(tf.multiply),
    "RELU": _elementwise(tf.nn.relu),
    "RESHAPE": _reshape,
    "RSQRT": _elementwise(tf.math.rsqrt),
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elementwise(tf.subtract),
    "SUM": _sum,
    "TANH": _elementwise(tf.tanh),
    "TRANSPOSE": _elementwise(tf.transpose),
}
