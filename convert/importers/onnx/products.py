"""Operators that multiply matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.importers.onnx.elementwise import Rule, same_frames
from convert.importers.onnx.value import Call, Frames, Plan, Value
from convert.layers.layer_rule import Joined, product


def _moved(value: Value, axis: int | None) -> tuple[tuple[int | None, ...], Frames]:
    return (axis,), value.frames._replace(zeros=False)


def times_weights(value: Value, kernel: NDArray[Any], bias: NDArray[Any] | None) -> Plan:
    """Plan a product of the last axis with a matrix [channels, outputs], plus a bias [outputs]."""
    kernel = np.ascontiguousarray(kernel, np.float32)
    width = kernel.shape[0]
    axes, frames = _moved(value, value.axis)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        x = operands[0]
        parts = x.parts if isinstance(x, Joined) else (x,)
        shape = max(parts, key=lambda part: len(part.shape)).shape
        if isinstance(x, Joined):
            x = Joined(tuple(tf.reshape(part, (-1, int(part.shape[-1]))) for part in x.parts))
        elif len(x.shape) != 2:
            x = tf.reshape(x, (-1, width))
        result = product(x, tf.constant(kernel), None if bias is None else tf.constant(bias))
        return (result if len(shape) == 2 else tf.reshape(result, (*shape[:-1], -1)),), ()

    return Plan(compute, axes, frames, takes_deferred=True, rowwise=True)


def _from_left(matrix: NDArray[Any], value: Value) -> Plan:
    """Plan a product of a constant matrix [rows, n] with values [..., n, columns]."""
    kernel = np.ascontiguousarray(matrix.T, np.float32)
    rank, shape = len(value.shape), value.shape
    order = [*range(rank - 2), rank - 1, rank - 2]
    axes, frames = _moved(value, value.axis)

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        x = operands[1]
        if shape[-1] == 1:
            # A column: the transposed is the same numbers in a row.
            x = tf.reshape(x, (-1, shape[-2]))
            return (tf.reshape(tf.matmul(x, kernel), (*shape[:-2], len(matrix), 1)),), ()
        x = tf.reshape(tf.transpose(x, order), (-1, shape[-2]))
        result = tf.reshape(tf.matmul(x, kernel), (*shape[:-2], shape[-1], len(matrix)))
        return (tf.transpose(result, order),), ()

    return Plan(compute, axes, frames)


def _both(call: Call, a: Value, b: Value, scale: float = 1.0) -> Plan:
    """Plan a product of two values."""
    rank = max(len(a.shape), len(b.shape))
    places = []
    for value, summed in ((a, -1), (b, -2)):
        if value.axis is None:
            continue
        if value.axis - len(value.shape) == summed:
            raise call.refusal("sums over time (attention over the sequence?)")
        place = value.axis + rank - len(value.shape)
        places.append(place)
        other = b if value is a else a
        own = place - rank + len(other.shape)
        if place >= rank - 2 and other.axis is not None:
            raise call.refusal("multiplies steps with steps (attention over the sequence?)")
        if place < rank - 2 and own >= 0 and other.axis is None and other.shape[own] != 1:
            raise call.refusal("multiplies a step with a value of another number of steps")
    if len(set(places)) > 1:
        raise call.refusal("multiplies values whose axes of time are not the same one")
    frames = same_frames(call, [value for value in (a, b) if value.axis is not None])

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        left, right = (tf.convert_to_tensor(item) for item in operands[:2])
        result = tf.matmul(left, right)
        return (result if scale == 1 else result * scale,), ()

    axis = places[0] if places else None
    return Plan(compute, (axis,), frames._replace(zeros=False), rowwise=True)


def matmul(call: Call) -> Plan:
    """MatMul: weights on either side, or two values."""
    a, b = call.value(0), call.value(1)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return _vectors(call, a, b)
    if b.constant is not None and a.constant is None and len(b.shape) == 2:
        if a.axis == len(a.shape) - 1:
            raise call.refusal("sums over time")
        bias = call.optional(2)
        return times_weights(a, b.constant, None if bias is None else bias.constant)
    if a.constant is not None and b.constant is None and len(a.shape) == 2:
        if b.axis == len(b.shape) - 2:
            raise call.refusal("sums over time")
        return _from_left(a.constant, b)
    return _both(call, a, b, float(call.attribute("alpha", 1.0)))


def _vectors(call: Call, a: Value, b: Value) -> Plan:
    """Multiply where one side is a vector."""
    if a.axis is not None or b.axis is not None:
        if len(b.shape) == 1 and b.constant is not None and a.axis != len(a.shape) - 1:
            column = b.constant.reshape(-1, 1)
            whole = times_weights(a, column, None)
            shape = a.shape[:-1]

            def compute(operands: tuple[Any, ...], states: Any) -> Any:
                (result,), _ = whole.compute(operands, states)
                return (tf.reshape(result, shape),), ()

            return Plan(compute, whole.axes, whole.frames, takes_deferred=True)
        raise call.refusal("multiplies a vector with steps")
    return Plan(
        lambda operands, _: ((tf.linalg.matvec(operands[0], operands[1])
                              if len(b.shape) == 1 and len(a.shape) > 1
                              else tf.tensordot(operands[0], operands[1], 1),), ()),
        (None,),
    )  # fmt: skip


def gemm(call: Call) -> Plan:
    """Gemm: alpha A' B' + beta C."""
    a, b = call.value(0), call.value(1)
    alpha, beta = float(call.attribute("alpha", 1.0)), float(call.attribute("beta", 1.0))
    trans_a, trans_b = call.attribute("transA", 0), call.attribute("transB", 0)
    c = call.optional(2)
    if b.constant is not None and not trans_a and (c is None or c.constant is not None):
        if a.axis == 1:
            raise call.refusal("sums over time")
        kernel = alpha * (b.constant.T if trans_b else b.constant)
        if c is None:
            return times_weights(a, kernel, None)
        bias = beta * np.asarray(c.constant, np.float32)
        if bias.ndim < 2 or bias.shape[0] == 1:
            wide = np.broadcast_to(bias.reshape(-1), (kernel.shape[1],)).astype(np.float32)
            return times_weights(a, kernel, wide)
    if any(value is not None and value.axis is not None for value in (a, b, c)):
        raise call.refusal("multiplies steps with something other than weights")

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        left, right, *rest = operands
        result = alpha * tf.matmul(left, right, transpose_a=trans_a, transpose_b=trans_b)
        return (result + beta * rest[0] if rest and rest[0] is not None else result,), ()

    return Plan(compute, (None,))


def einsum(call: Call) -> Plan:
    """Einsum whose time is not summed over."""
    equation = str(call.attribute("equation")).replace(" ", "")
    given, arrow, result = equation.partition("->")
    if not arrow or "." in equation:
        raise call.refusal(f"has the equation '{equation}', which is not understood")
    letters = {
        part[value.axis]
        for part, value in zip(given.split(","), call.values, strict=True)
        if value is not None and value.axis is not None
    }
    if len(letters) > 1 or letters - set(result):
        raise call.refusal("sums over time, or multiplies steps with steps")
    axis = result.index(next(iter(letters))) if letters else None
    frames = same_frames(call, [v for _, v in call.varying() if v.axis is not None])
    return Plan(
        lambda operands, _: ((tf.einsum(equation, *operands),), ()),
        (axis,),
        frames._replace(zeros=False),
    )


ROWS: dict[str, Rule] = {
    "Einsum": einsum,
    "FusedMatMul": matmul,
    "Gemm": gemm,
    "MatMul": matmul,
}
