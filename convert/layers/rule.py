"""What converting a layer to a step needs: its states and its computation of one time step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class State:
    """What a layer keeps from one step to the next.

    Attributes:
        name: within the layer; numbered where several layers have states.
        shape: without the batch axis.
        bound: magnitude that the equations guarantee, or None.
        initial: real values at the start of a sequence, of ``shape``; None: zeros.
    """

    name: str
    shape: tuple[int, ...]
    bound: float | None = None
    initial: np.ndarray | None = None


class Scaled(NamedTuple):
    """A value that is still to be multiplied by ``scale`` and shifted by ``shift`` ([channels]
    each), so that a product behind it can take both into its weights."""

    value: tf.Tensor
    scale: tf.Tensor
    shift: tf.Tensor


def plain(value: tf.Tensor | Scaled) -> tf.Tensor:
    """The value with its scale and shift applied."""
    return value.value * value.scale + value.shift if isinstance(value, Scaled) else value


Values = tuple[Any, ...]


@dataclass(frozen=True)
class StepRule:
    """One layer's time step.

    The time axis is gone: where the layer has [batch, steps, channels], its step has
    [1, channels].

    Attributes:
        step: (inputs, states) -> (outputs, new states), each a tuple; states in the order of
            ``states``.
        states: what it keeps.
        takes_scaled: whether its inputs may be :class:`Scaled`.
    """

    step: Callable[[Values, Values], tuple[Values, Values]]
    states: tuple[State, ...] = ()
    takes_scaled: bool = False


def stateless(function: Callable[..., Any], takes_scaled: bool = False) -> StepRule:
    """The rule of a layer that computes a step from that step alone: inputs -> one output."""
    return StepRule(lambda inputs, _: ((function(*inputs),), ()), takes_scaled=takes_scaled)
