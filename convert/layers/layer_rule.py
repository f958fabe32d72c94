"""The rule that turns a layer into a step: its states, and its computation of one time step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.step.scopes import FLOAT_SCOPE

# The bound of a state of zeros and ones. In 8 bits of this magnitude with zero point 0, 1 is a
# level: 127 of 127.
GATE_BOUND = 128 / 127


@dataclass(frozen=True)
class State:
    """What a layer keeps from one step to the next.

    Attributes:
        name: the layer's own name of it; numbered if several layers have states.
        shape: shape without the batch axis.
        bound: largest magnitude that the equations allow, or None.
        initial: values at the start of a sequence in real units, of ``shape``; None for zeros.
        period: the state is updated at steps 0, period, 2 * period... and read at every step.
        in_float: whether it stays in float32 in every scheme, as no integers hold it.
    """

    name: str
    shape: tuple[int, ...]
    bound: float | None = None
    initial: NDArray[Any] | None = None
    period: int = 1
    in_float: bool = False


class Scaled(NamedTuple):
    """A value still to be multiplied by ``scale`` and shifted by ``shift``, [channels] each.

    A product after it can take both into its weights."""

    value: tf.Tensor
    scale: tf.Tensor
    shift: tf.Tensor


class Lookup(NamedTuple):
    """The row of ``table`` [vocabulary, width] at ``token`` [1, 1], not looked up yet.

    A product after it can then be computed for all rows at export. ``fold`` says whether it is;
    None leaves that to the layer after it.
    """

    table: tf.Variable
    token: tf.Tensor
    fold: bool | None = None


class Joined(NamedTuple):
    """Values that still have to be joined along the last axis.

    A product after them can be the sum of one product for each. Quantized together, they would have
    to share a scale."""

    parts: tuple[Any, ...]


# What a layer passes on: a tensor, or one of the above.
Value = Any


def plain(value: Value) -> tf.Tensor:
    """Return the value as a tensor: scaled and shifted, looked up, its parts joined."""
    if isinstance(value, Scaled):
        scaled = value.value * value.scale
        moves = not isinstance(value.shift, np.ndarray) or value.shift.any()
        return scaled + value.shift if moves else scaled
    if isinstance(value, Lookup):
        return look_up(value.table, value.token)
    if isinstance(value, Joined):
        return joined([plain(part) for part in value.parts])
    return value


def in_rows(value: tf.Tensor, rows: int) -> tf.Tensor:
    """Return a value [1, ...] or [rows, ...] as [rows, ...].

    A GATHER copies bytes, so it is exact in every dtype; an addition that broadcasts is not."""
    if value.shape[0] == rows:
        return value
    return tf.gather(value, np.zeros(rows, np.int32))


def joined(parts: Sequence[tf.Tensor], axis: int = -1) -> tf.Tensor:
    """Join values along an axis; those of one row are repeated for the rows of the others."""
    rows = max(int(part.shape[0]) for part in parts)
    return tf.concat([in_rows(part, rows) for part in parts], axis)


def look_up(table: Any, token: tf.Tensor) -> tf.Tensor:
    """Look up a token id [1, 1] in a table [vocabulary, width] -> [1, width]."""
    return tf.gather(table, tf.reshape(token, (1,)))


def product(value: Value, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """Multiply a value [..., channels] with a matrix [channels, outputs] and add a bias [outputs].

    Each joined part has its own product; scales and shifts go into the weights."""
    if isinstance(value, Lookup):
        value = plain(value)
    if isinstance(value, Joined):
        parts = [part.value if isinstance(part, Scaled) else part for part in value.parts]
        kernels = tf.split(kernel, [int(part.shape[-1]) for part in parts])
        total = product(value.parts[0], kernels[0], bias)
        for part, rows in zip(value.parts[1:], kernels[1:], strict=True):
            total += product(part, rows)
        return total
    if isinstance(value, Scaled):
        folded = tf.linalg.matvec(kernel, value.shift, transpose_a=True)
        bias = folded if bias is None else bias + folded
        value, kernel = value.value, kernel * value.scale[:, tf.newaxis]
    shape = value.shape
    if len(shape) > 2:  # one product of all the rows of a frame
        value = tf.reshape(value, (-1, shape[-1]))
    result = tf.matmul(value, kernel)
    result = result if bias is None else result + bias
    if len(shape) == 2:
        return result
    return tf.reshape(result, (-1, *shape[1:-1], kernel.shape[-1]))


LayerValues = tuple[Any, ...]


@dataclass(frozen=True)
class StepRule:
    """How to compute one layer's time step.

    There is no time axis: where the layer has [batch, steps, channels], its step has [1, channels].
    States may have several rows, which are independent sequences. Then what depends on them has as
    many rows, and what depends on the inputs alone has one: element-wise operators and products
    take both, :func:`joined` joins them.

    Attributes:
        step: (inputs, states) -> (outputs, new states), each a tuple; states in the order of
            ``states``.
        states: what the layer keeps from step to step.
        takes_deferred: whether its inputs may be :class:`Scaled`, :class:`Lookup` or
            :class:`Joined`.
        sums_up: whether its output stands for the whole sequence so far (a recurrence without
            return_sequences, a mean over time) instead of for one step. A tuple with one entry per
            output if they differ.
        float_only: why a part of it, marked with :func:`in_float`, is computed in float32 in every
            scheme; "" if nothing is.
        changed: what the step does differently from the layer in Keras, in words; "" if nothing.
        delay: how many steps of its input come before its first answer; what it gives before is
            not the layer's.
        stride: it answers at every ``stride``-th step of its input.
        begins_with: how many of its inputs, the last ones, are the states that it begins with. They
            must be the same over a sequence.
        begins_anew: whether its states must have their initial values at its input's first step.
    """

    step: Callable[[LayerValues, LayerValues], tuple[LayerValues, LayerValues]]
    states: tuple[State, ...] = ()
    takes_deferred: bool = False
    sums_up: bool | tuple[bool, ...] = False
    float_only: str = ""
    changed: str = ""
    delay: int = 0
    stride: int = 1
    begins_with: int = 0
    begins_anew: bool = True


def in_float(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a computation that stays in float32 in every scheme.

    Integers would round each of its operators; so only what goes in and comes out is rounded."""

    @functools.wraps(function)
    def marked(*values: Any, **options: Any) -> Any:
        with tf.name_scope(FLOAT_SCOPE):
            return function(*values, **options)

    return marked


def described(layer: Any) -> str:
    """Name a layer as error messages do."""
    return f"layer '{layer.name}' ({type(layer).__name__})"


def stateless(function: Callable[..., Any], takes_deferred: bool = False, **facts: Any) -> StepRule:
    """Make the rule of a layer that needs only the current step: inputs -> one output."""
    return StepRule(
        lambda inputs, _: ((function(*inputs),), ()), takes_deferred=takes_deferred, **facts
    )
