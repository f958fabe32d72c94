"""Step rules for layers that need only the current step."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.activations import capped_relu, elu, leaky_relu, step_form, thresholded_relu
from convert.layers.activations import minimum as smaller
from convert.layers.frame import last_axis
from convert.layers.layer_rule import Lookup, StepRule, described, in_float, product, stateless
from convert.layers.one_step import has_time
from models.layers import TokenEmbedding

JUMP = "integers have no operator that jumps at a threshold"
PADDING_REMOVED = "a step is never padding: give only real steps (Keras would skip the padded ones)"


def exponential_linear(layer: keras.layers.ELU, node: Any) -> StepRule:
    """Compute x where it is positive, else alpha * (e^x - 1)."""
    return stateless(lambda value: elu(value, float(layer.alpha)))


def same(layer: keras.layers.Layer, node: Any) -> StepRule:
    """Step a layer that works only on the last axis, so it treats a step like a sequence."""
    return stateless(layer)


def dense(layer: keras.layers.Dense, node: Any) -> StepRule:
    """Multiply with the layer's matrix.

    A normalization before it is folded into it; what is joined before it has a product per part."""
    activation = step_form(layer.activation)

    def step(value: Any) -> tf.Tensor:
        return activation(product(value, layer.kernel, layer.bias if layer.use_bias else None))

    return stateless(step, takes_deferred=True)


def activation(layer: keras.layers.Activation, node: Any) -> StepRule:
    """Step an activation on its own."""
    return stateless(step_form(layer.activation))


def on_last_axis(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A softmax."""
    last_axis(layer, node, "runs along")
    return stateless(tf.nn.softmax)


def parametric_relu(layer: keras.layers.PReLU, node: Any) -> StepRule:
    """Compute x where it is positive, else alpha * x with an alpha per channel."""
    alpha = layer.alpha.numpy()
    if not has_time(node.input_shapes):
        alpha = alpha[np.newaxis]
    if alpha.shape[0] != 1:
        raise UnsupportedLayerError(
            f"{described(layer)} has an alpha for every step; share it over time with "
            "shared_axes=[1]"
        )
    return stateless(lambda value: leaky_relu(value, alpha))


def sloped_relu(layer: keras.layers.LeakyReLU, node: Any) -> StepRule:
    """Compute x where it is positive, else alpha * x."""
    return stateless(lambda value: leaky_relu(value, layer.alpha))


def relu(layer: keras.layers.ReLU, node: Any) -> StepRule:
    """Compute max(x, 0), with a slope below 0, a largest value, or a threshold."""
    top, slope = layer.max_value, float(layer.negative_slope)
    threshold = float(layer.threshold or 0.0)
    if threshold:
        return stateless(
            in_float(lambda value: thresholded_relu(value, threshold, slope, top)),
            float_only=JUMP,
        )
    if top is None:
        return stateless(lambda value: leaky_relu(value, slope) if slope else tf.nn.relu(value))
    if slope:
        return stateless(lambda value: smaller(leaky_relu(value, slope), float(top)))
    return stateless(lambda value: capped_relu(value, float(top)) if top else layer(value))


def jumping_relu(layer: Any, node: Any) -> StepRule:
    """Compute x where it is above theta, else 0."""
    theta = float(layer.theta)
    return stateless(in_float(lambda value: thresholded_relu(value, theta)), float_only=JUMP)


def removed(layer: keras.layers.Layer, node: Any) -> StepRule:
    """Leave out a layer that does nothing in inference."""
    return stateless(lambda value: value, takes_deferred=True)


def masking(layer: keras.layers.Masking, node: Any) -> StepRule:
    """Leave out a mask: what it skips is not fed to a stream at all."""
    return stateless(lambda value: value, takes_deferred=True, changed=PADDING_REMOVED)


def token_embedding(layer: TokenEmbedding, node: Any) -> StepRule:
    """Map token ids [1, 1] -> [1, width]; the layer after it may fold this in."""
    return stateless(lambda ids: Lookup(layer.table, ids))


def embedding(layer: keras.layers.Embedding, node: Any) -> StepRule:
    """Map token ids [1, 1] -> [1, width] as :func:`token_embedding` does."""
    if len(node.input_shapes) != 2:
        raise UnsupportedLayerError(
            f"{described(layer)} reads ids of shape {tuple(node.input_shapes)}; ids of shape "
            "(batch, steps) can be stepped"
        )
    return stateless(
        lambda ids: Lookup(layer.embeddings, ids),
        changed=f"{PADDING_REMOVED}; id 0 is padding" if layer.mask_zero else "",
    )
