"""Step rules for computations of tensors outside of Keras' layers: arithmetic and functions.

A step has no time axis. So each rule says what an operation's axes and constants are then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError
from convert.layers import shape_operations as shapes
from convert.layers.activations import (
    hard_sigmoid_3,
    hard_silu,
    leaky_relu,
    minimum,
    softsign,
)
from convert.layers.layer_rule import Scaled, StepRule, Value, plain, stateless
from convert.layers.one_step import has_time
from convert.layers.operation_call import (
    OperationCall,
    Slot,
    TensorOperation,
    operation_call,
)

# A function of one step's values.
Compute = Callable[..., tf.Tensor]


class Operation(NamedTuple):
    """An operation in the list.

    Attributes:
        rule: takes the call and gives its step, or refuses it.
        in_tensorflow: names of its functions, without "tf.".
        in_keras: its classes in keras.ops.
    """

    rule: Callable[[OperationCall], StepRule]
    in_tensorflow: tuple[str, ...] = ()
    in_keras: tuple[str, ...] = ()


def elementwise(function: Compute, count: int = 1) -> Callable[[OperationCall], StepRule]:
    """Make the rule of a function of each element of ``count`` tensors or constants."""

    def rule(call: OperationCall) -> StepRule:
        steps = call.outputs[0][1:2]
        if steps != (None,) and any(shape[1:2] == (None,) for shape in call.shapes):
            raise call.refused(
                f"has a value of its own for each of {steps[0] if steps else 0} steps; "
                "a stream has no first step, so leave it out"
            )
        operands = [aligned(call, item) for item in call.operands(count)]
        return stateless(lambda *tensors: function(*(value(tensors) for value in operands)))

    return rule


def aligned(call: OperationCall, operand: Any) -> Callable[[tuple[Value, ...]], Any]:
    """Make the function that finds an operand among the inputs, with a step's axes."""
    out = call.outputs[0]
    if not isinstance(operand, Slot):
        constant = step_constant(call, operand)
        return lambda _: constant
    shape = call.shapes[operand.number]
    if len(shape) != len(out):
        raise call.refused(
            f"joins values of shapes {shape} and {out}, which mixes time and channels; "
            "give both the same axes with expand_dims"
        )
    if has_time(out) and not has_time(shape):
        kept = tuple(int(size or 1) for size in shape[2:])
        return lambda tensors: tf.reshape(tensors[operand.number], (-1, *kept))
    return lambda tensors: tensors[operand.number]


def step_constant(call: OperationCall, constant: Any) -> NDArray[np.float32]:
    """Return a constant operand with a step's axes.

    Raises:
        UnsupportedLayerError: it has a value of its own for each step.
    """
    values, out = np.asarray(constant, np.float32), call.outputs[0]
    time = values.ndim - len(out) + 1
    if not has_time(out) or time < 0:
        return values
    if values.shape[time] != 1:
        raise call.refused(
            f"has a constant of shape {values.shape}, a value of its own for each of "
            f"{values.shape[time]} steps; a stream has no first step, so leave it out"
        )
    return values if time == 0 else np.squeeze(values, time)


def _scaling(inverse: bool) -> Callable[[OperationCall], StepRule]:
    """Make the rule of a product or quotient; a layer after it takes a constant factor in."""
    plainly = elementwise(tf.divide if inverse else tf.multiply, 2)

    def rule(call: OperationCall) -> StepRule:
        first, second = call.operands(2)
        constant = second if isinstance(first, Slot) else first
        if isinstance(constant, Slot) or (inverse and constant is first):
            return plainly(call)
        with np.errstate(divide="ignore"):
            factor = step_constant(call, constant)
            factor = (1 / factor if inverse else factor).astype(np.float32)
        width = call.outputs[0][-1]
        same = call.shapes[0] == call.outputs[0] and len(call.outputs[0]) == 2 + has_time(
            call.outputs[0]
        )
        if not same or width is None or not np.isfinite(factor).all() or factor.ndim > 2:
            return plainly(call)
        scale = np.broadcast_to(factor, (1, width))[0]

        def step(value: Value) -> Scaled:
            if isinstance(value, Scaled):
                return Scaled(value.value, value.scale * scale, value.shift * scale)
            return Scaled(plain(value), scale, np.zeros_like(scale))

        return stateless(step, takes_deferred=True)

    return rule


def _power(call: OperationCall) -> StepRule:
    """Compute a power; small whole ones are products, which integers hold."""
    exponent = call.operands(2)[1]
    known: dict[float, Compute] = {
        1.0: lambda x: x,
        2.0: lambda x: x * x,
        3.0: lambda x: x * x * x,
        4.0: lambda x: (x * x) * (x * x),
        0.5: tf.sqrt,
        -0.5: tf.math.rsqrt,
        -1.0: lambda x: 1.0 / x,
    }
    single = not isinstance(exponent, Slot) and np.size(exponent) == 1
    function = known.get(float(np.ravel(exponent)[0])) if single else None
    if function is not None:
        return elementwise(function)(call)
    return elementwise(tf.pow, 2)(call)


def _clip(call: OperationCall) -> StepRule:
    """Cut to a range."""
    low, high = (
        step_constant(call, call.option(*names))
        for names in (("clip_value_min", "x_min", "a_min"), ("clip_value_max", "x_max", "a_max"))
    )
    return elementwise(lambda x: minimum(tf.maximum(x, low), high))(call)


def _sloped(call: OperationCall) -> StepRule:
    slope = call.option("alpha", "negative_slope", default=0.2)
    return elementwise(lambda x: leaky_relu(x, float(slope)))(call)


def _elu(call: OperationCall) -> StepRule:
    slope = float(call.option("alpha", default=1.0))
    return elementwise(lambda x: keras.activations.elu(x, slope))(call)


def _gelu(call: OperationCall) -> StepRule:
    approximate = bool(call.option("approximate", default=call.function.startswith("keras.ops")))
    return elementwise(lambda x: tf.nn.gelu(x, approximate))(call)


def _minus(x: tf.Tensor) -> tf.Tensor:
    return x * -1.0


def _absolute(x: tf.Tensor) -> tf.Tensor:
    """Every integer runtime has MAXIMUM; few have ABS."""
    return tf.maximum(x, x * -1.0)


def _unary(function: Compute, in_tensorflow: str, in_keras: str) -> Operation:
    return Operation(elementwise(function), tuple(in_tensorflow.split()), tuple(in_keras.split()))


def _binary(function: Compute, in_tensorflow: str, in_keras: str) -> Operation:
    return Operation(
        elementwise(function, 2), tuple(in_tensorflow.split()), tuple(in_keras.split())
    )


OPERATIONS: tuple[Operation, ...] = (
    _binary(tf.add, "__operators__.add math.add", "Add"),
    _binary(tf.subtract, "math.subtract", "Subtract"),
    Operation(_scaling(False), ("math.multiply", "math.scalar_mul"), ("Multiply",)),
    Operation(_scaling(True), ("math.truediv", "math.divide", "realdiv"), ("Divide", "TrueDivide")),
    Operation(_power, ("math.pow",), ("Power",)),
    _binary(tf.maximum, "math.maximum", "Maximum"),
    _binary(minimum, "math.minimum", "Minimum"),
    _binary(lambda a, b: (a - b) * (a - b), "math.squared_difference", ""),
    _unary(_minus, "math.negative", "Negative"),
    _unary(_absolute, "math.abs", "Absolute Abs"),
    _unary(lambda x: x * x, "math.square", "Square"),
    _unary(tf.sqrt, "math.sqrt", "Sqrt"),
    _unary(tf.math.rsqrt, "math.rsqrt", "Rsqrt"),
    _unary(lambda x: 1.0 / x, "math.reciprocal", "Reciprocal"),
    _unary(tf.exp, "math.exp", "Exp"),
    _unary(tf.math.log, "math.log", "Log"),
    _unary(lambda x: tf.math.log(x + 1.0), "math.log1p", "Log1p"),
    _unary(lambda x: tf.exp(x) - 1.0, "math.expm1", "Expm1"),
    _unary(lambda x: tf.math.log(x) * (1 / np.log(10)), "", "Log10"),
    _unary(lambda x: tf.math.log(x) * (1 / np.log(2)), "", "Log2"),
    _unary(tf.sin, "math.sin", "Sin"),
    _unary(tf.cos, "math.cos", "Cos"),
    Operation(_clip, ("clip_by_value",), ("Clip",)),
    _unary(tf.tanh, "math.tanh nn.tanh", "Tanh"),
    _unary(tf.sigmoid, "math.sigmoid nn.sigmoid", "Sigmoid"),
    _unary(tf.nn.relu, "nn.relu", "Relu"),
    _unary(tf.nn.relu6, "nn.relu6", "Relu6"),
    Operation(_sloped, ("nn.leaky_relu",), ("LeakyRelu",)),
    Operation(_elu, ("nn.elu",), ("Elu",)),
    Operation(_gelu, ("nn.gelu",), ("Gelu",)),
    _unary(tf.nn.selu, "nn.selu", "Selu"),
    _unary(lambda x: x * tf.sigmoid(x), "nn.silu nn.swish", "Silu"),
    _unary(tf.nn.softplus, "math.softplus nn.softplus", "Softplus"),
    _unary(softsign, "nn.softsign math.softsign", "Softsign"),
    _unary(hard_sigmoid_3, "", "HardSigmoid"),
    _unary(hard_silu, "", "HardSilu HardSwish"),
    _unary(lambda x: x, "identity stop_gradient", "StopGradient Identity"),
    Operation(shapes.cast, ("cast",), ("Cast",)),
    Operation(shapes.softmax, ("nn.softmax",), ("Softmax",)),
    Operation(shapes.log_softmax, ("nn.log_softmax", "math.log_softmax"), ("LogSoftmax",)),
    Operation(shapes.mean, ("math.reduce_mean",), ("Mean",)),
    Operation(shapes.variance, ("math.reduce_variance",), ("Var",)),
    Operation(shapes.deviation, ("math.reduce_std",), ("Std",)),
    Operation(shapes.total, ("math.reduce_sum",), ("Sum",)),
    Operation(shapes.largest, ("math.reduce_max",), ("Max",)),
    Operation(shapes.smallest, ("math.reduce_min",), ("Min",)),
    Operation(shapes.concatenation, ("concat",), ("Concatenate",)),
    Operation(shapes.stacking, ("stack",), ("Stack",)),
    Operation(shapes.splitting, ("split", "unstack"), ("Split", "Unstack")),
    Operation(shapes.slicing, ("__operators__.getitem",), ("GetItem",)),
    Operation(
        shapes.reshaping,
        ("reshape", "squeeze", "expand_dims"),
        ("Reshape", "Squeeze", "ExpandDims"),
    ),
    Operation(shapes.transposing, ("transpose",), ("Transpose",)),
    Operation(shapes.matrix_product, ("linalg.matmul",), ("Matmul", "Dot")),
)
# Some functions of TensorFlow 2 are kept under the name that they had in TensorFlow 1.
IN_TENSORFLOW = {
    prefix + name: item
    for item in OPERATIONS
    for name in item.in_tensorflow
    for prefix in ("", "compat.v1.")
}
IN_KERAS = {name: item for item in OPERATIONS for name in item.in_keras}


def operation_on_tensors(layer: Any, node: Any) -> StepRule:
    """Step an operation of the list above."""
    call = operation_call(layer, node)
    if isinstance(layer, TensorOperation):
        found = IN_KERAS.get(layer.operation)
    else:
        found = IN_TENSORFLOW.get(call.function.removeprefix("tf."))
    if found is None:
        raise unknown_operation(layer.name, call.function)
    return found.rule(call)


def unknown_operation(name: str, function: str) -> UnsupportedLayerError:
    """Make the error for a function that is not in the list."""
    return UnsupportedLayerError(
        f"layer '{name}' computes {function[:60]} outside of Keras' layers, which is not stepped; "
        "docs/import.md lists the functions that are; replace it by one of them or a Keras layer"
    )
