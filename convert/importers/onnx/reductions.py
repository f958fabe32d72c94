"""Operators that reduce axes: sums, means, normalizations, softmax. Over time they run on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from calibration.ranges import NOTHING_YET
from convert.importers.onnx.elementwise import Rule
from convert.importers.onnx.value import Call, Plan, Value, front, stateless
from convert.layers.layer_rule import State

# How to reduce axes of one step.
REDUCE: dict[str, Callable[[Any, list[int], bool], Any]] = {
    "ReduceSum": lambda x, axes, keep: tf.reduce_sum(x, axes, keep),
    "ReduceMean": lambda x, axes, keep: _mean(x, axes, keep),
    "ReduceMax": lambda x, axes, keep: tf.reduce_max(x, axes, keep),
    "ReduceMin": lambda x, axes, keep: tf.reduce_min(x, axes, keep),
    "ReduceProd": lambda x, axes, keep: tf.reduce_prod(x, axes, keep),
    "ReduceL1": lambda x, axes, keep: tf.reduce_sum(tf.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: tf.sqrt(tf.reduce_sum(x * x, axes, keep)),
    "ReduceSumSquare": lambda x, axes, keep: tf.reduce_sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: tf.math.log(tf.reduce_sum(x, axes, keep)),
}
COUNT = (
    "what a step adds to a mean over all steps becomes smaller than the rounding of 8 or 16 bits"
)
VARIANCE = "a variance spans more orders of magnitude than integers of 8 or 16 bits hold"


def _mean(x: Any, axes: list[int], keep: bool) -> Any:
    """Average as a sum times a constant, which every integer runtime has."""
    x = tf.convert_to_tensor(x)
    if not axes:
        return x
    count = math.prod(int(x.shape[axis]) for axis in axes)
    if x.dtype.is_integer:
        return tf.reduce_mean(x, axes, keep)
    return tf.reduce_sum(x, axes, keep) * (1 / count)


def _reduce(call: Call) -> Plan:
    value = call.value()
    rank = len(value.shape)
    axes = call.integers("axes", 1)
    if not axes:
        axes = [] if call.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return reduced(call, call.node.kind, [call.axis_of(axis) for axis in axes],
                   bool(call.attribute("keepdims", 1)))  # fmt: skip


def reduced(call: Call, kind: str, axes: list[int], keep: bool) -> Plan:
    """Plan a reduction of axes."""
    value = call.value()
    function = REDUCE[kind]
    if value.axis in axes:
        return _over_time(call, kind, axes, keep)
    axis = value.axis
    if axis is not None and not keep:
        axis -= sum(place < axis for place in axes)
    own = [place - len(value.shape) for place in axes]
    return stateless(
        lambda x, *_: function(tf.convert_to_tensor(x), own, keep), axis,
        frames=value.frames._replace(zeros=False), rowwise=True,
    )  # fmt: skip


def _over_time(call: Call, kind: str, axes: list[int], keep: bool) -> Plan:
    """Reduce over all steps so far."""
    value = call.at_frames(call.value())
    if kind not in ("ReduceMean", "ReduceMax", "ReduceSum"):
        raise call.refusal("reduces over time; a mean, a sum and a largest value can be stepped")
    inner = REDUCE[kind]
    left = [1 if place in axes else n for place, n in enumerate(value.shape)]
    shape = left if keep else [n for place, n in enumerate(left) if place not in axes]
    size = math.prod(left)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        now = tf.reshape(inner(operands[0], axes, True), (1, size))
        if kind == "ReduceMax":
            new: tuple[Any, ...] = (tf.maximum(states[0], now),)
        elif kind == "ReduceSum":
            new = (states[0] + now,)
        else:
            count = states[1] + 1.0
            new = (states[0] + (now - states[0]) / count, count)
        return (tf.reshape(new[0], shape),), new

    if kind == "ReduceMax":
        lowest = np.full((size,), NOTHING_YET, np.float32)
        states: tuple[State, ...] = (State("max", (size,), initial=lowest),)
        return Plan(compute, (None,), states=states, sums_up=True)
    if kind == "ReduceSum":
        return Plan(compute, (None,), states=(State("sum", (size,)),), sums_up=True)
    states = (State("mean", (size,), in_float=True), State("count", (1,), in_float=True))
    return Plan(compute, (None,), states=states, sums_up=True, float_only=COUNT)


def _global(kind: str) -> Rule:
    def rule(call: Call) -> Plan:
        return reduced(call, kind, list(range(2, len(call.value().shape))), True)

    return rule


def softmax(call: Call) -> Plan:
    """Softmax and LogSoftmax along one axis."""
    value = call.value()
    rank = len(value.shape)
    old = call.opset < 13
    axis = call.axis_of(int(call.attribute("axis", 1 if old else -1)))
    if axis == value.axis:
        raise call.refusal("runs over time (attention over the sequence?)")
    joins = any(n != 1 for n in value.shape[axis + 1 :]) or (value.axis or -1) > axis
    if old and axis != rank - 1 and joins:
        raise call.refusal("of an opset before 13 joins axes; export it with a newer opset")
    log = call.node.kind == "LogSoftmax"

    def compute(x: Any) -> Any:
        if axis == rank - 1:
            return tf.nn.log_softmax(x) if log else tf.nn.softmax(x)
        if all(n == 1 for n in value.shape[axis + 1 :]):
            # What follows has size 1: the same numbers, the axis last.
            lead = front(x, rank)
            row = tf.reshape(x, (*lead, *value.shape[: axis + 1]))
            given = tf.nn.log_softmax(row) if log else tf.nn.softmax(row)
            return tf.reshape(given, (*lead, *value.shape))
        order = [place for place in range(rank) if place != axis] + [axis]
        back = np.argsort(order).tolist()
        moved = tf.transpose(x, order)
        return tf.transpose(tf.nn.log_softmax(moved) if log else tf.nn.softmax(moved), back)

    plain_order = all(n == 1 for n in value.shape[axis + 1 :])
    frames = value.frames._replace(zeros=False)
    return stateless(compute, value.axis, frames=frames, rowwise=plain_order)


def batch_normalization(call: Call) -> Plan:
    """Scale and shift each channel by the means and variances of training."""
    value = call.value()
    if value.axis == 1 and len(value.shape) > 1:
        raise call.refusal("has a mean and a variance for each step of the sequence")
    scale, shift, mean, variance = (call.constant(position) for position in range(1, 5))
    factor = scale / np.sqrt(variance + float(call.attribute("epsilon", 1e-5)))
    wide = (1, -1, *[1] * (len(value.shape) - 2)) if len(value.shape) > 1 else (-1,)
    gain = factor.reshape(wide).astype(np.float32)
    offset = (shift - mean * factor).reshape(wide).astype(np.float32)
    count = len(call.node.outputs)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        return (operands[0] * gain + offset,) * count, ()

    frames = value.frames._replace(zeros=False)
    return Plan(compute, (value.axis,) * count, frames, rowwise=True)


def normalized(
    call: Call, axes: list[int], gain: Any, offset: Any, epsilon: float, centered: bool = True
) -> Plan:
    """Plan (x - mean) / sqrt(variance + epsilon) * gain + offset over the axes of one step."""
    value = call.value()
    if value.axis in axes:
        raise call.refusal(
            "takes its mean and variance over the whole sequence, whose end a stream does not "
            "know; use a normalization of the channels alone"
        )
    count, own = len(call.node.outputs), [place - len(value.shape) for place in axes]

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        x = operands[0]
        if centered:
            x = x - _mean(x, own, True)
        result = x * tf.math.rsqrt(_mean(x * x, own, True) + epsilon)
        result = result if gain is None else result * gain
        return (result if offset is None else result + offset,) * count, ()

    return Plan(
        compute, (value.axis,) * count, value.frames._replace(zeros=False), float_only=VARIANCE,
        rowwise=True,
    )  # fmt: skip


def layer_normalization(call: Call) -> Plan:
    """LayerNormalization, and RMSNormalization, which leaves the mean."""
    rank = len(call.value().shape)
    first = call.axis_of(int(call.attribute("axis", -1)))
    gain = call.constant(1, np.ones(1, np.float32))
    offset = call.constant(2) if call.optional(2) is not None else None
    centered = call.node.kind == "LayerNormalization"
    epsilon = float(call.attribute("epsilon", 1e-5))
    return normalized(call, list(range(first, rank)), gain, offset, epsilon, centered)


def _channels(call: Call, array: Any) -> Any:
    return np.asarray(array, np.float32).reshape(1, -1, *[1] * (len(call.value().shape) - 2))


def instance_normalization(call: Call) -> Plan:
    """InstanceNormalization: each channel over its places."""
    axes = list(range(2, len(call.value().shape)))
    gain, offset = _channels(call, call.constant(1)), _channels(call, call.constant(2))
    return normalized(call, axes, gain, offset, float(call.attribute("epsilon", 1e-5)))


def group_normalization(call: Call) -> Plan:
    """GroupNormalization: groups of channels over their places."""
    value = call.value()
    if value.axis is not None and value.axis >= 1:
        return normalized(call, [value.axis], None, None, 0.0)
    shape, groups = value.shape, int(call.attribute("num_groups"))
    gain, offset = call.constant(1), call.constant(2)
    if gain.size == groups != shape[1]:
        gain, offset = (np.repeat(item, shape[1] // groups) for item in (gain, offset))
    wide_gain, wide_offset = _channels(call, gain), _channels(call, offset)
    epsilon = float(call.attribute("epsilon", 1e-5))

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        x = tf.reshape(operands[0], (shape[0], groups, -1))
        x = x - _mean(x, [2], True)
        x = tf.reshape(x * tf.math.rsqrt(_mean(x * x, [2], True) + epsilon), shape)
        return (x * wide_gain + wide_offset,), ()

    frames = value.frames._replace(zeros=False)
    return Plan(compute, (value.axis,), frames, float_only=VARIANCE)


def lp_normalization(call: Call) -> Plan:
    """Divide by the norm along an axis."""
    value = call.value()
    axis = call.axis_of(int(call.attribute("axis", -1)))
    if axis == value.axis:
        raise call.refusal("divides by a norm over time")
    if int(call.attribute("p", 2)) == 1:
        return _divided(value, lambda x: tf.reduce_sum(tf.abs(x), axis, True))
    return _divided(value, lambda x: tf.sqrt(tf.reduce_sum(x * x, axis, True)))


def _divided(value: Value, norm: Callable[[Any], Any]) -> Plan:
    return stateless(
        lambda x: x / norm(x), value.axis, frames=value.frames._replace(zeros=False),
        float_only=VARIANCE,
    )  # fmt: skip


ROWS: dict[str, Rule] = {
    **dict.fromkeys(REDUCE, _reduce),
    "BatchNormalization": batch_normalization,
    "GlobalAveragePool": _global("ReduceMean"),
    "GlobalMaxPool": _global("ReduceMax"),
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalization,
    "RMSNormalization": layer_normalization,
    "SimplifiedLayerNormalization": layer_normalization,
    "Softmax": softmax,
}
