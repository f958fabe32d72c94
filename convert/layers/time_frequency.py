"""Step rules for 2-D layers: over time and frequency, or over the two axes of an image.

Over [batch, steps, frequencies, channels] the last steps are the state, and the layer itself is
computed over them. Within a frame it is computed as it is.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.frame import frame_shape, per_frame
from convert.layers.layer_rule import (
    LayerValues,
    State,
    StepRule,
    described,
    joined,
    stateless,
)
from convert.layers.lookback import look_back, over_time, padded_steps
from convert.layers.one_step import has_time

POOLING = (
    keras.layers.MaxPooling1D,
    keras.layers.AveragePooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
)
# Layers that may follow zeros in front of a sequence.
WINDOWED = (
    keras.layers.Conv1D,
    keras.layers.DepthwiseConv1D,
    keras.layers.SeparableConv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    *POOLING,
)


def zero_padding(layer: Any, node: Any) -> StepRule:
    """Leave out zeros in front of a sequence: the window after it begins with zeros anyway.

    Zeros around a frame are put there."""
    if not has_time(node.input_shapes):
        return per_frame(layer, node)
    front, behind = padded_steps(layer)
    ahead = [after.layer for after in layer.outbound_nodes]
    if front and (not ahead or not all(isinstance(item, WINDOWED) for item in ahead)):
        raise UnsupportedLayerError(
            f"{described(layer)} lengthens the sequence; it can be stepped only as (n, 0) directly "
            "in front of a convolution or pooling with padding='valid' that looks back n steps"
        )
    if behind:
        raise UnsupportedLayerError(
            f"{described(layer)} pads {behind} steps behind, where a stream has no frames yet; "
            "pad in front alone, (n, 0), and train again"
        )
    around = layer.padding[1] if isinstance(layer, keras.layers.ZeroPadding2D) else (0, 0)
    if not any(around):
        return stateless(lambda value: value)
    return stateless(lambda value: tf.pad(value, ((0, 0), tuple(around), (0, 0))))


def over_time_and_frequency(layer: Any, node: Any) -> StepRule:
    """Step a 2-D convolution or pooling over [batch, steps, frequencies, channels].

    The last steps are the state, and the layer itself is computed over them."""
    shape = tuple(node.input_shapes)
    if not has_time(shape) or len(shape) != 4:
        return per_frame(layer, node)
    frame = frame_shape(shape, layer)
    if isinstance(layer, POOLING):
        size, dilation = layer.pool_size[0], 1
    else:
        size, dilation = layer.kernel_size[0], layer.dilation_rate[0]
    back = look_back(layer, node, size, dilation, layer.strides[0])
    given = tuple(layer.compute_output_shape((1, back.reach + 1, *frame)))[2:]

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        window = tf.reshape(inputs[0], (-1, 1, *frame))
        if back.reach:
            window = joined([states[0], window], 1)
        new = (window[:, 1:],) if back.reach else ()
        return (tf.reshape(layer(window), (-1, *given)),), new

    states = (State("past", (back.reach, *frame)),) if back.reach else ()
    return over_time(step, states, back)


def along_frequency(layer: Any, node: Any) -> StepRule:
    """Step a layer that lengthens or shortens frames of [frequencies, channels], but not time."""
    shape = tuple(node.input_shapes)
    if not has_time(shape) or len(shape) != 4:
        return per_frame(layer, node)
    frame = frame_shape(shape, layer)
    given = tuple(layer.compute_output_shape((1, 1, *frame)))[1:]
    longer = tuple(layer.compute_output_shape((1, 2, *frame)))[1:]
    if given[0] != 1 or longer[0] != 2:
        raise UnsupportedLayerError(
            f"{described(layer)} makes {longer[0]} steps of two; let it work along the frequencies "
            "alone, with 1 along time"
        )

    def step(value: Any) -> tf.Tensor:
        return tf.reshape(layer(tf.reshape(value, (-1, 1, *frame))), (-1, *given[1:]))

    return stateless(step)
