"""Step rules for recurrences along an axis of one frame, or over the steps made of a summary.

Each step of the stream begins them anew, with zeros, and computes them whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.frame import frame_shape
from convert.layers.keras_recurrent import cell_step, recurrent_layer
from convert.layers.layer_rule import StepRule, described, stateless
from convert.layers.one_step import has_time

# More would make a graph of thousands of operators.
LONGEST = 128

Whole = Callable[[Any], tuple[Any, ...]]


def recurrence(layer: keras.layers.RNN, node: Any) -> StepRule:
    """Step a recurrence: over time with a state, along an axis of a frame without."""
    if has_time(tuple(node.keras_inputs[0].shape)):
        return recurrent_layer(layer, node)
    if node.call_kwargs.get("initial_state") is not None or len(node.keras_inputs) > 1:
        raise UnsupportedLayerError(
            f"{described(layer)} begins with another layer's state (initial_state) within one "
            "step; leave it out, or repeat that state as its input (RepeatVector)"
        )
    whole = _along_frame(layer, _length(layer, node))
    return StepRule(lambda inputs, _: (whole(inputs[0]), ()))


def bidirectional(layer: keras.layers.Bidirectional, node: Any) -> StepRule:
    """Step a recurrence in both directions along an axis of a frame; refuse it over time."""
    from convert.layers import refusal

    if has_time(node.input_shapes):
        raise refusal(layer.name, type(layer).__name__)
    forward, backward = layer.forward_layer, layer.backward_layer
    if forward.return_state or len(node.keras_inputs) > 1:
        raise UnsupportedLayerError(
            f"{described(layer)} takes or gives states within one step; leave return_state and "
            "initial_state out"
        )
    length = _length(layer, node)
    there, back = _along_frame(forward, length), _along_frame(backward, length)

    def step(value: Any) -> Any:
        (first,), (second,) = there(value), back(value)
        if backward.return_sequences:
            width = second.shape[-1]
            row = tf.reshape(second, (-1, length * width))
            ends = range(length * width, 0, -width)
            turned = tf.concat([row[:, end - width : end] for end in ends], -1)
            second = tf.reshape(turned, (-1, length, width))
        return _merged(layer.merge_mode, first, second)

    if layer.merge_mode not in ("concat", "sum", "mul", "ave"):
        raise UnsupportedLayerError(
            f"{described(layer)} has merge_mode={layer.merge_mode!r}; use concat, sum, mul or ave"
        )
    return stateless(step)


def _merged(mode: str, first: Any, second: Any) -> Any:
    if mode == "concat":
        return tf.concat([first, second], -1)
    if mode == "mul":
        return first * second
    return (first + second) * (0.5 if mode == "ave" else 1.0)


def _length(layer: Any, node: Any) -> int:
    length, *_ = frame_shape(node.input_shapes, layer)
    if length > LONGEST:
        raise UnsupportedLayerError(
            f"{described(layer)} runs over {length} places of one frame, each of which is a part "
            f"of the step; up to {LONGEST} can be stepped"
        )
    return length


def _along_frame(layer: Any, length: int) -> Whole:
    """Make the function [rows, length, channels] -> the layer's outputs."""
    cell = cell_step(layer.cell)
    places = range(length)[::-1] if layer.go_backwards else range(length)

    def compute(value: Any) -> tuple[Any, ...]:
        # Slices of one row are an operator that every runtime has.
        width = value.shape[-1]
        row = tf.reshape(value, (-1, length * width))
        parts = [row[:, place * width : (place + 1) * width] for place in range(length)]
        states = tuple(tf.zeros((value.shape[0], *state.shape)) for state in cell.states)
        outputs = []
        for place in places:
            output, states = cell.step(parts[place], states)
            outputs.append(output)
        result = outputs[-1]
        if layer.return_sequences:
            result = tf.reshape(tf.concat(outputs, -1), (-1, length, result.shape[-1]))
        return (result, *states) if layer.return_state else (result,)

    return compute
