"""How far a layer looks back over the steps, and when it answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.layer_rule import State, StepRule, described

PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D)


class Lookback(NamedTuple):
    """The steps that a layer's window covers.

    Attributes:
        reach: how many steps it looks back from the newest one.
        delay: steps before its first answer: those that the window needs and that no zeros in front
            of the sequence stand for.
        stride: steps from one answer to the next.
    """

    reach: int
    delay: int
    stride: int


def look_back(layer: Any, node: Any, size: int, dilation: int = 1, stride: int = 1) -> Lookback:
    """Find the steps that a window over time covers.

    Args:
        size, dilation, stride: the window's along time.

    Raises:
        UnsupportedLayerError: the window looks ahead, or zeros lengthen the sequence.
    """
    reach = (size - 1) * dilation
    if layer.data_format != "channels_last":
        raise UnsupportedLayerError(f"{described(layer)} has its channels first; put them last")
    front = front_padding(node)
    if layer.padding == "causal":
        front += reach
    elif layer.padding == "same" and (reach or stride > 1):
        raise UnsupportedLayerError(
            f"{described(layer)} has padding='same', so each step looks ahead at steps that a "
            f"stream does not have yet; {_alternative(layer, reach)}, and train again"
        )
    if front > reach:
        raise UnsupportedLayerError(
            f"{described(layer)} gets {front} steps of zeros in front, but looks back only {reach} "
            "steps, so that the sequence gets longer; pad as many as it looks back"
        )
    return Lookback(reach, reach - front, stride)


def _alternative(layer: Any, reach: int) -> str:
    if isinstance(layer, keras.layers.Conv1D) and not isinstance(
        layer, keras.layers.DepthwiseConv1D
    ):
        return "use padding='causal'"
    if type(layer).__name__.endswith("2D"):
        return f"put ZeroPadding2D((({reach}, 0), ...)) in front of padding='valid'"
    return f"put ZeroPadding1D(({reach}, 0)) in front of padding='valid'"


def front_padding(node: Any) -> int:
    """Return the steps of zeros that the layer in front puts before the sequence."""
    source = getattr(node.keras_inputs[0], "_keras_history", None)
    layer: Any = getattr(source, "layer", None)
    return padded_steps(layer)[0] if isinstance(layer, PADDINGS) else 0


def padded_steps(layer: Any) -> tuple[int, int]:
    """Return the steps that a padding layer adds in front of a sequence and behind it."""
    front, behind = layer.padding if isinstance(layer, PADDINGS[0]) else layer.padding[0]
    return int(front), int(behind)


def over_time(step: Any, states: tuple[State, ...], back: Lookback) -> StepRule:
    """Make a rule that answers as ``back`` says.

    If no zeros stand for missing steps, whatever the states begin with is gone at the first answer.
    """
    return StepRule(
        step,
        states,
        delay=back.delay,
        stride=back.stride,
        begins_anew=bool(states) and back.delay < back.reach,
    )
