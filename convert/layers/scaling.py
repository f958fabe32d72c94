"""Step rules for layers that scale and shift; a product after them takes most of them in."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.frame import normalized_axes
from convert.layers.layer_rule import Scaled, StepRule, described, in_float, stateless
from models.layers import Normalization


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
    return stateless(lambda value: Scaled(value, 1 / deviation, -mean / deviation))


def rescaling(layer: keras.layers.Rescaling, node: Any) -> StepRule:
    """Compute x * scale + offset."""

    def step(value: tf.Tensor) -> Scaled:
        channels = (value.shape[-1],)
        scale, offset = (tf.constant(item, tf.float32) for item in (layer.scale, layer.offset))
        return Scaled(value, tf.broadcast_to(scale, channels), tf.broadcast_to(offset, channels))

    return stateless(step)


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
        return stateless(lambda value: Scaled(value, scale, shift))
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
