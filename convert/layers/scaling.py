"""Step rules for layers that scale and shift; a product after them takes most of them in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.frame import normalized_axes
from convert.layers.layer_rule import Scaled, StepRule, described, in_float, stateless
from models.layers import Normalization

# The largest step of an input's 8-bit grid, in deviations of its finest channel, that is folded.
COARSE = 0.25


def normalization(layer: Normalization, node: Any) -> StepRule:
    """Step our normalization of the inputs; the layer after it may fold it in."""
    return stateless(lambda value: Scaled(value, layer.scale, layer.shift))


def keras_normalization(layer: keras.layers.Normalization, node: Any) -> StepRule:
    """Compute (x - mean) / max(sqrt(variance), epsilon), or its inverse, to be folded."""
    rank, channels = len(node.input_shapes), int(node.input_shapes[-1])
    # Without an axis, one mean and one variance apply to all values.
    if {axis % rank for axis in layer.axis or ()} not in (set(), {rank - 1}):
        raise UnsupportedLayerError(
            f"{described(layer)} normalizes axis {layer.axis}; along the last axis (axis=-1) it "
            "can be stepped"
        )
    mean = tf.broadcast_to(tf.reshape(layer.mean, (-1,)), (channels,))
    variance = tf.broadcast_to(tf.reshape(layer.variance, (-1,)), (channels,))
    deviation = tf.maximum(tf.sqrt(variance), keras.backend.epsilon())
    if layer.invert:
        return stateless(lambda value: Scaled(value, deviation, mean))
    return _of_inputs(node, 1 / deviation, -mean / deviation)


def _of_inputs(node: Any, scale: tf.Tensor, shift: tf.Tensor) -> StepRule:
    """Compute x * scale + shift [channels]: folded into what follows, or ahead of it in float32.

    The second is for a model's own inputs whose grid in 8 bits would be coarse: values far from
    zero (an air pressure), or channels of very different size. It is taken that a normalized
    channel has a mean of 0 and a deviation of 1.
    """
    history = getattr(node.keras_inputs[0], "_keras_history", None)
    if history is None or not isinstance(history.layer, keras.layers.InputLayer):
        return stateless(lambda value: Scaled(value, scale, shift))
    with tf.init_scope():
        deviation = np.abs(1 / np.where(np.asarray(scale) == 0, np.inf, scale))
        centre = -np.asarray(shift) * np.where(deviation > 0, 1 / np.asarray(scale), 0)
    used = deviation > 0
    widest = np.max((np.abs(centre) + 3 * deviation)[used], initial=0.0)
    if not used.all() or widest / 127 <= COARSE * deviation.min():
        return stateless(lambda value: Scaled(value, scale, shift))

    def step(value: tf.Tensor) -> tf.Tensor:
        # TensorFlow's converter takes a MUL into the product that follows; a limit that no value
        # reaches stands between.
        return tf.maximum((value - centre) * scale, -(2.0**31))

    return stateless(
        in_float(step),
        float_only="8 bits hold these inputs too coarsely: they lie far from zero, or the channels "
        "differ much in size",
    )


def rescaling(layer: keras.layers.Rescaling, node: Any) -> StepRule:
    """Compute x * scale + offset."""
    channels = (int(node.input_shapes[-1]),)
    scale, offset = (tf.constant(item, tf.float32) for item in (layer.scale, layer.offset))
    return _of_inputs(node, tf.broadcast_to(scale, channels), tf.broadcast_to(offset, channels))


def batch_normalization(layer: keras.layers.BatchNormalization, node: Any) -> StepRule:
    """Scale and shift by the statistics of training, to be folded.

    Source: S. Ioffe and C. Szegedy, "Batch normalization" (2015)."""
    (axis,), weights = normalized_axes(layer, node)
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    if layer.scale:
        scale *= layer.gamma
    shift = -layer.moving_mean * scale
    if layer.center:
        shift += layer.beta
    if axis == len(weights) - 1:
        return _of_inputs(node, scale, shift)
    scale, shift = tf.reshape(scale, weights), tf.reshape(shift, weights)
    return stateless(lambda value: value * scale + shift)


def layer_normalization(layer: keras.layers.LayerNormalization, node: Any) -> StepRule:
    """Compute (x - mean) / sqrt(variance + epsilon) * gamma + beta over the channels of one step,
    or over further axes of its frame.

    Source: J. Ba et al., "Layer normalization" (2016)."""
    axes, weights = normalized_axes(layer, node)
    share = 1.0 / math.prod(weights)

    def step(value: tf.Tensor) -> tf.Tensor:
        centred = value - share * tf.reduce_sum(value, axes, keepdims=True)
        variance = share * tf.reduce_sum(centred * centred, axes, keepdims=True)
        result = centred * tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            result *= tf.reshape(layer.gamma, weights)
        return result + tf.reshape(layer.beta, weights) if layer.center else result

    return stateless(
        in_float(step),
        float_only="a variance spans more orders of magnitude than integers of 8 or 16 bits hold",
    )
