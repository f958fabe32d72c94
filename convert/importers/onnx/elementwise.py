"""Operators that work element by element, and how their operands lie along time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.importers.onnx.value import Call, Frames, Known, Plan, Value, stateless
from convert.layers import activations

Rule = Callable[[Call], Plan | Known]


def aligned(call: Call, positions: list[int] | None = None) -> Plan:
    """Find where time is in the result of operands that are broadcast against each other.

    Args:
        positions: of the operands; None for all.

    Returns:
        A plan without a computation yet: the axis, the frames, and constants cut to one step.

    Raises:
        UnsupportedLayerError: a constant differs from step to step, or the operands' steps are not
            the same ones.
    """
    chosen = [
        (position, value)
        for position, value in enumerate(call.values)
        if value is not None and (positions is None or position in positions)
    ]
    rank = max(len(value.shape) for _, value in chosen)
    timed = [value for _, value in chosen if value.axis is not None and value.constant is None]
    places = {value.axis + rank - len(value.shape) for value in timed if value.axis is not None}
    if len(places) > 1:
        raise call.refusal("joins values whose axes of time are not the same one (attention?)")
    if not places:
        return Plan(_nothing, (None,))
    (axis,) = places
    frames = same_frames(call, timed)
    operands = {}
    for position, value in chosen:
        own = axis - rank + len(value.shape)
        if value in timed or own < 0 or value.shape[own] == 1:
            continue
        if value.constant is None:
            raise call.refusal("joins a step with a value that has another number of steps")
        operands[position] = one_step(call, value.constant, own)
    return Plan(_nothing, (axis,), frames=frames._replace(zeros=False), operands=operands)


def same_frames(call: Call, timed: Sequence[Value]) -> Frames:
    """Return how the frames of values that are joined lie along time.

    Raises:
        UnsupportedLayerError: they are not the same ones.
    """
    if len({value.frames.place for value in timed}) > 1:
        raise call.refusal(
            "joins steps that are not the same ones: a convolution or a cut before it drops or "
            "adds steps; pad it with (size - 1) * dilation zeros at the start"
        )
    return timed[0].frames if timed else Frames()


def _nothing(operands: Any, states: Any) -> Any:
    raise NotImplementedError


def one_step(call: Call, array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Cut a constant to one step; refuse it if steps differ."""
    first: NDArray[Any] = np.take(array, [0], axis)
    if not np.array_equal(np.broadcast_to(first, array.shape), array):
        raise call.refusal(
            "joins a step with a constant that differs from step to step (a position in the "
            "sequence?); a stream has no end of its positions"
        )
    return first


def together(function: Callable[..., Any]) -> Rule:
    """Make the rule of an operator on operands that are broadcast against each other."""

    def rule(call: Call) -> Plan:
        found = aligned(call)
        count = len(call.values)

        def compute(operands: tuple[Any, ...], states: Any) -> Any:
            return (function(*_alike(operands[:count])),), ()

        return Plan(compute, found.axes, found.frames, operands=found.operands, rowwise=True)

    return rule


def _alike(operands: tuple[Any, ...]) -> list[Any]:
    """Give constants the dtype of the values beside them."""
    given = [item for item in operands if item is not None]
    dtype = next((item.dtype for item in given if tf.is_tensor(item)), None)
    if dtype is None or dtype == tf.bool:
        return given
    return [
        item if tf.is_tensor(item) or item.dtype == bool else tf.constant(item, dtype)
        for item in given
    ]


def alone(function: Callable[[Call], Callable[[Any], Any]]) -> Rule:
    """Make the rule of an operator on one value; ``function`` reads its attributes."""

    def rule(call: Call) -> Plan:
        value = call.value()
        compute = function(call)
        frames = value.frames
        if frames.front and frames.zeros:
            frames = frames._replace(zeros=bool(np.all(np.asarray(compute(tf.zeros(1))) == 0)))
        return stateless(lambda x, *_: compute(x), value.axis, frames=frames, rowwise=True)

    return rule


def plain(function: Callable[[Any], Any]) -> Rule:
    """Make the rule of a function without attributes."""
    return alone(lambda call: function)


def divide(a: Any, b: Any) -> Any:
    """Divide; whole numbers as ONNX does, towards zero."""
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    if a.dtype.is_integer:
        return tf.cast(tf.truncatediv(a, b), a.dtype)
    known = tf.get_static_value(b)
    if known is not None and np.all(known != 0):
        return a * (1 / known).astype(known.dtype)
    return a / b


def power(call: Call) -> Plan:
    """Raise to a power; the usual ones by operators that every runtime has."""
    exponent = call.optional(1)
    if exponent is not None and exponent.constant is not None and exponent.constant.size == 1:
        number = float(exponent.constant.ravel()[0])
        forms: dict[float, Callable[[Any], Any]] = {
            1.0: tf.identity, 2.0: lambda x: x * x, 3.0: lambda x: x * x * x,
            0.5: tf.sqrt, -0.5: tf.math.rsqrt, -1.0: tf.math.reciprocal,
        }  # fmt: skip
        function = forms.get(number, lambda x: tf.pow(x, tf.cast(number, x.dtype)))
        value = call.value()
        axis = value.axis
        if axis is not None:
            axis += max(len(exponent.shape) - len(value.shape), 0)
        return stateless(
            lambda x, _: function(tf.convert_to_tensor(x)), axis,
            frames=value.frames._replace(zeros=False), rowwise=True,
        )  # fmt: skip
    plan = together(tf.pow)(call)
    assert isinstance(plan, Plan)  # noqa: S101
    return plan


def error_function(x: Any) -> Any:
    """Compute erf to 1.5e-7; TFLite has no operator for it.

    M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions" (1964), 7.1.26."""
    sign = tf.clip_by_value(x * 1e30, -1.0, 1.0)
    size = tf.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * size)
    terms = 1.061405429
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        terms = terms * t + factor
    return sign * (1.0 - terms * t * tf.exp(-size * size))


def clip(call: Call) -> Plan:
    """Cut to a range, by RELU and RELU6 where they do."""
    low = call.attribute("min", None)
    high = call.attribute("max", None)
    if low is None and call.optional(1) is not None:
        low = float(call.constant(1))
    if high is None and call.optional(2) is not None:
        high = float(call.constant(2))
    low = -math.inf if low is None or low <= -3e38 else low
    high = math.inf if high is None or high >= 3e38 else high
    value = call.value()

    def compute(x: Any, *_: Any) -> Any:
        x = tf.convert_to_tensor(x)
        if x.dtype.is_integer:
            return tf.clip_by_value(x, max(low, x.dtype.min), min(high, x.dtype.max))
        if low == 0 and high == math.inf:
            return tf.nn.relu(x)
        if low == 0 and high == 6:
            return tf.nn.relu6(x)
        x = x if low == -math.inf else tf.maximum(x, low)
        return x if high == math.inf else activations.minimum(x, high)

    frames = value.frames._replace(zeros=value.frames.zeros and low <= 0 <= high)
    return stateless(compute, value.axis, frames=frames, rowwise=True)


def cast(call: Call) -> Plan:
    """Change the dtype; numbers that are computed with are float32."""
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(call.attribute("to", 1)))
    value = call.value()
    if dtype.kind == "f" or dtype.name == "bfloat16":
        dtype = np.dtype(np.float32)
    if value.constant is None and dtype.kind in "iu":
        # TFLite's lookups take int32.
        dtype = np.dtype(np.int32)
    return stateless(lambda x, *_: tf.cast(x, dtype), value.axis, frames=value.frames, rowwise=True)


def same(call: Call) -> Plan:
    """Hand a value on: Identity, Dropout at rest."""
    value = call.value()
    count = len(call.node.outputs)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        return (operands[0],) * count, ()

    return Plan(compute, (value.axis,) * count, value.frames, rowwise=True)


def choose(call: Call) -> Plan:
    """Take from one value or the other: Where."""
    found = aligned(call)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        condition, *rest = operands
        yes, no = _alike(tuple(rest))
        return (tf.where(condition, yes, no),), ()

    return Plan(compute, found.axes, found.frames, operands=found.operands, rowwise=True)


def _leaky(call: Call) -> Callable[[Any], Any]:
    slope = float(call.attribute("alpha", 0.01))
    return lambda x: activations.leaky_relu(x, slope)


def parametric_relu(call: Call) -> Plan:
    """PRelu: a slope for each channel."""
    found = aligned(call)
    slopes = found.operands.get(1, call.constant(1))
    return stateless(
        lambda x, _: activations.leaky_relu(x, slopes), found.axes[0], frames=found.frames,
        rowwise=True,
    )  # fmt: skip


def hard_sigmoid(call: Call) -> Callable[[Any], Any]:
    """Compute alpha * x + beta cut to [0, 1], by RELU6."""
    alpha, beta = float(call.attribute("alpha", 0.2)), float(call.attribute("beta", 0.5))
    return lambda x: tf.nn.relu6(x * (6 * alpha) + 6 * beta) * (1 / 6)


def _elu(call: Call) -> Callable[[Any], Any]:
    alpha = float(call.attribute("alpha", 1.0))
    return (
        tf.nn.elu
        if alpha == 1
        else lambda x: tf.nn.relu(x) + alpha * (tf.exp(activations.minimum(x, 0.0)) - 1.0)
    )


def _selu(call: Call) -> Callable[[Any], Any]:
    alpha = float(call.attribute("alpha", 1.6732632423543772))
    gamma = float(call.attribute("gamma", 1.0507009873554805))
    return lambda x: gamma * (tf.nn.relu(x) + alpha * (tf.nn.elu(-tf.nn.relu(-x))))


def _celu(call: Call) -> Callable[[Any], Any]:
    alpha = float(call.attribute("alpha", 1.0))
    return lambda x: tf.nn.relu(x) + alpha * tf.nn.elu(-tf.nn.relu(-x) * (1 / alpha))


def _thresholded(call: Call) -> Callable[[Any], Any]:
    alpha = float(call.attribute("alpha", 1.0))
    return lambda x: activations.thresholded_relu(x, alpha)


def _gelu(call: Call) -> Callable[[Any], Any]:
    approximate = call.attribute("approximate", "none") == "tanh"
    return lambda x: tf.nn.gelu(x, approximate=approximate)


def _shrink(call: Call) -> Callable[[Any], Any]:
    bias, lambd = float(call.attribute("bias", 0.0)), float(call.attribute("lambd", 0.5))
    return lambda x: tf.where(x > lambd, x - bias, tf.where(x < -lambd, x + bias, tf.zeros_like(x)))


def _quick_gelu(call: Call) -> Callable[[Any], Any]:
    alpha = float(call.attribute("alpha", 1.702))
    return lambda x: x * tf.sigmoid(alpha * x)


def _modulo(call: Call) -> Plan:
    function = tf.truncatemod if call.attribute("fmod", 0) else tf.math.floormod
    plan = together(function)(call)
    assert isinstance(plan, Plan)  # noqa: S101
    return plan


def _reduced(function: Callable[[Any, Any], Any]) -> Rule:
    return together(lambda *values: functools.reduce(function, values))


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return activations.softsign(x)


def soft_plus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return activations.softplus(x)


ROWS: dict[str, Rule] = {
    "Abs": plain(tf.abs),
    "Add": _reduced(tf.add),
    "And": together(tf.logical_and),
    "Cast": cast,
    "Ceil": plain(tf.math.ceil),
    "Celu": alone(_celu),
    "Clip": clip,
    "Cos": plain(tf.cos),
    "Div": together(divide),
    "Dropout": same,
    "Elu": alone(_elu),
    "Equal": together(tf.equal),
    "Erf": plain(error_function),
    "Exp": plain(tf.exp),
    "FastGelu": plain(lambda x: tf.nn.gelu(x, approximate=True)),
    "Floor": plain(tf.floor),
    "Gelu": alone(_gelu),
    "Greater": together(tf.greater),
    "GreaterOrEqual": together(tf.greater_equal),
    "HardSigmoid": alone(hard_sigmoid),
    "HardSwish": plain(lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6)),
    "Identity": same,
    "LeakyRelu": alone(_leaky),
    "Less": together(tf.less),
    "LessOrEqual": together(tf.less_equal),
    "Log": plain(tf.math.log),
    "Max": _reduced(tf.maximum),
    "Mean": together(lambda *values: functools.reduce(tf.add, values) * (1 / len(values))),
    "Min": _reduced(lambda a, b: activations.minimum(a, b) if _real(a) else tf.minimum(a, b)),
    "Mish": plain(lambda x: x * tf.tanh(soft_plus(x))),
    "Mod": _modulo,
    "Mul": _reduced(tf.multiply),
    "Neg": plain(tf.negative),
    "Not": plain(tf.logical_not),
    "Or": together(tf.logical_or),
    "PRelu": parametric_relu,
    "Pow": power,
    "QuickGelu": alone(_quick_gelu),
    "Reciprocal": plain(lambda x: 1.0 / x),
    "Relu": plain(tf.nn.relu),
    "Round": plain(tf.round),
    "Selu": alone(_selu),
    "Shrink": alone(_shrink),
    "Sigmoid": plain(tf.sigmoid),
    "Sign": plain(tf.sign),
    "Sin": plain(tf.sin),
    "Softplus": plain(soft_plus),
    "Softsign": plain(softsign),
    "Sqrt": plain(tf.sqrt),
    "Sub": together(tf.subtract),
    "Sum": _reduced(tf.add),
    "Swish": alone(lambda call: lambda x: x * tf.sigmoid(float(call.attribute("alpha", 1)) * x)),
    "Tanh": plain(tf.tanh),
    "ThresholdedRelu": alone(_thresholded),
    "Where": choose,
}


def _real(value: Any) -> bool:
    return bool(tf.convert_to_tensor(value).dtype.is_floating)


def constant_value(value: Value) -> bool:
    """Tell whether a value is known."""
    return value.constant is not None
