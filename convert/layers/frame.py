"""Which axes a layer's values have, and step rules for layers that compute each frame on its own.

Where Keras has [batch, steps, *frame], a step has [rows, *frame]. A network's number of steps is
free, so an axis after the batch without a size is time. A value without it is one frame's, as
within TimeDistributed, or the summary of a sequence: both are computed whole at each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.layer_rule import StepRule, described, stateless
from convert.layers.one_step import has_time, is_one_step


def frame_shape(shape: Sequence[int | None], layer: Any) -> tuple[int, ...]:
    """Return a shape in Keras without the axes of batch and time.

    Raises:
        UnsupportedLayerError: an axis of the frame has no size.
    """
    axes = tuple(shape)[2 if has_time(shape) else 1 :]
    if any(size is None for size in axes):
        raise UnsupportedLayerError(
            f"{described(layer)} takes frames of shape {axes}; give the Input of the network, or "
            "of the network within, a size for each axis of a frame"
        )
    return tuple(int(size) for size in axes if size is not None)


def per_frame(layer: Any, node: Any) -> StepRule:
    """Step a layer that sees nothing but one frame: it is called on [rows, *frame]."""
    frame_shape(node.input_shapes, layer)
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise UnsupportedLayerError(f"{described(layer)} has its channels first; put them last")
    return stateless(layer)


def largest_of_frame(layer: Any, node: Any) -> StepRule:
    """Step the largest value over all places of a frame, as a pooling over the whole of it.

    REDUCE_MAX is not among the integer operators of every runtime; MAX_POOL_2D is."""
    _check_whole_frame(layer, node)
    *places, channels = frame_shape(node.input_shapes, layer)
    high, wide = places if len(places) == 2 else (*places, 1)
    given = tuple(
        int(size) for size in node.output_shapes[2 if has_time(node.input_shapes) else 1 :]
    )

    def step(value: tf.Tensor) -> tf.Tensor:
        image = tf.reshape(value, (-1, high, wide, channels))
        return tf.reshape(tf.nn.max_pool2d(image, (high, wide), 1, "VALID"), (-1, *given))

    return stateless(step)


def mean_of_frame(layer: Any, node: Any) -> StepRule:
    """Step the mean over all places of a frame."""
    _check_whole_frame(layer, node)
    return per_frame(layer, node)


def _check_whole_frame(layer: Any, node: Any) -> None:
    if has_time(node.input_shapes) and len(node.input_shapes) == 4:
        raise UnsupportedLayerError(
            f"{described(layer)} sums up time and frequency together; put Reshape((-1, n)) and "
            "GlobalAveragePooling1D or a recurrence in its place"
        )


def flatten(layer: keras.layers.Flatten, node: Any) -> StepRule:
    """Flatten one frame; a sequence without further axes stays as it is."""
    shape = tuple(node.input_shapes)
    if has_time(shape):
        if is_one_step():
            flat = (math.prod(frame_shape(shape, layer)),)
            return _reshaped(flat, frame_shape(shape, layer))
        if tuple(node.output_shapes) != shape:
            raise _mixes(layer, node)
        return stateless(lambda value: value, takes_deferred=True)
    return _reshaped((math.prod(frame_shape(shape, layer)),), frame_shape(shape, layer))


def reshape(layer: keras.layers.Reshape, node: Any) -> StepRule:
    """Reshape each frame; refuse what moves values from one step to another."""
    before, after = tuple(node.input_shapes), tuple(node.output_shapes)
    taken = frame_shape(before, layer)
    if has_time(before) != has_time(after) and not is_one_step():
        raise _mixes(layer, node)
    given = frame_shape(after, layer)
    if math.prod(taken) != math.prod(given):
        raise _mixes(layer, node)
    return _reshaped(given, taken)


def _reshaped(given: tuple[int, ...], taken: tuple[int, ...]) -> StepRule:
    if given == taken:
        return stateless(lambda value: value, takes_deferred=True)
    return stateless(lambda value: tf.reshape(value, (-1, *given)))


def _mixes(layer: Any, node: Any) -> UnsupportedLayerError:
    before, after = tuple(node.input_shapes), tuple(node.output_shapes)
    return UnsupportedLayerError(
        f"{described(layer)} makes {after} of {before}, which mixes time and channels; end "
        "the recurrence with return_sequences=False, flatten each frame with "
        "TimeDistributed(Flatten()), or leave the layer out"
    )


def permute(layer: keras.layers.Permute, node: Any) -> StepRule:
    """Exchange the axes of a frame; refuse to exchange time with another."""
    order = tuple(layer.dims)
    if has_time(node.input_shapes):
        if order[0] != 1:
            raise UnsupportedLayerError(
                f"{described(layer)} exchanges time with another axis; put time first in the "
                "network's input, and leave it there"
            )
        order = tuple(axis - 1 for axis in order[1:])
    if sorted(order) == list(order):
        return stateless(lambda value: value, takes_deferred=True)
    return stateless(lambda value: tf.transpose(value, (0, *order)))


def repeat_vector(layer: keras.layers.RepeatVector, node: Any) -> StepRule:
    """Repeat a frame or a summary [rows, channels] -> [rows, n, channels]."""
    (channels,) = frame_shape(node.input_shapes, layer)
    if has_time(node.input_shapes):
        raise UnsupportedLayerError(f"{described(layer)} repeats a sequence; leave it out")
    return stateless(
        lambda value: tf.concat([tf.reshape(value, (-1, 1, channels))] * layer.n, axis=1)
    )


def last_axis(layer: Any, node: Any, what: str) -> None:
    """Check that a layer works along the last axis; UnsupportedLayerError if it does not."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % len(node.input_shapes) for axis in axes] != [len(node.input_shapes) - 1]:
        raise UnsupportedLayerError(
            f"{described(layer)} {what} axis {layer.axis}; along the last axis (axis=-1) it can "
            "be stepped"
        )


def normalized_axes(layer: Any, node: Any) -> tuple[list[int], list[int]]:
    """Return the axes that a layer normalizes, as the step has them, and the shape of its weights.

    The shape has 1 for the axes that it does not normalize.

    Raises:
        UnsupportedLayerError: batch or time is among them.
    """
    shape = tuple(node.input_shapes)
    first = 2 if has_time(shape) else 1
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    chosen = sorted(axis % len(shape) for axis in axes)
    if chosen[0] < first:
        raise UnsupportedLayerError(
            f"{described(layer)} normalizes axis {layer.axis}, over time or the batch; over the "
            "axes of a frame, such as the channels (axis=-1), it can be stepped"
        )
    weights = [1] * (len(shape) - first + 1)
    frame = frame_shape(shape, layer)
    for axis in chosen:
        weights[axis - first + 1] = frame[axis - first]
    return [axis - first + 1 for axis in chosen], weights
