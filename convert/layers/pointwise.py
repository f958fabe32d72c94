"""One time step of layers that compute a step from that step alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.activations import capped_relu, leaky_relu, step_form
from convert.layers.layer_rule import Joined, Lookup, Scaled, StepRule, plain, product, stateless
from models.layers import Normalization, TokenEmbedding

PADDING_REMOVED = "a step is never padding: give only real steps (Keras would skip the padded ones)"


def described(layer: keras.layers.Layer) -> str:
    """A layer as errors name it."""
    return f"layer '{layer.name}' ({type(layer).__name__})"


def same(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A layer that works on the last axis alone and so computes a step as it does a sequence."""
    return stateless(layer)


def dense(layer: keras.layers.Dense, node: Any) -> StepRule:
    """A product with the layer's matrix; a normalization in front of it is folded into it, and
    what is joined in front of it has a product for each part."""
    activation = step_form(layer.activation)

    def step(value: Any) -> tf.Tensor:
        return activation(product(value, layer.kernel, layer.bias if layer.use_bias else None))

    return stateless(step, takes_deferred=True)


def activation(layer: keras.layers.Activation, node: Any) -> StepRule:
    """An activation on its own."""
    return stateless(step_form(layer.activation))


def on_last_axis(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A softmax."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    rank = len(node.input_shapes)
    if list(axes) not in ([-1], [rank - 1]):
        raise UnsupportedLayerError(
            f"{described(layer)} runs along axis {layer.axis}; along the last axis alone it can "
            "be stepped"
        )
    return stateless(tf.nn.softmax)


def parametric_relu(layer: keras.layers.PReLU, node: Any) -> StepRule:
    """x where it is positive, else alpha * x with an alpha per channel."""
    shape = layer.alpha.shape
    if any(size != 1 for size in shape[:-1]):
        raise UnsupportedLayerError(
            f"{described(layer)} has an alpha for every step; share it over time with "
            "shared_axes=[1]"
        )
    alpha = np.reshape(layer.alpha.numpy(), (1, shape[-1]))
    return stateless(lambda value: leaky_relu(value, alpha))


def sloped_relu(layer: keras.layers.LeakyReLU, node: Any) -> StepRule:
    """x where it is positive, else alpha * x."""
    return stateless(lambda value: leaky_relu(value, layer.alpha))


def relu(layer: keras.layers.ReLU, node: Any) -> StepRule:
    """max(x, 0), with a slope below 0 or a largest value."""
    top, slope = layer.max_value, float(layer.negative_slope)
    if layer.threshold or (slope and top is not None):
        return stateless(
            layer,
            float_only=f"{described(layer)} has a threshold, or a slope and a largest value, which "
            "integer operators do not compute",
        )
    if top is None:
        return stateless(lambda value: leaky_relu(value, slope) if slope else tf.nn.relu(value))
    return stateless(lambda value: capped_relu(value, float(top)) if top else layer(value))


def removed(layer: keras.layers.Layer, node: Any) -> StepRule:
    """A layer that does nothing when a trained network is used."""
    return stateless(lambda value: value, takes_deferred=True)


def masking(layer: keras.layers.Masking, node: Any) -> StepRule:
    """In a stream every step is a real one; what a mask skips is not fed at all."""
    return stateless(lambda value: value, takes_deferred=True, changed=PADDING_REMOVED)


def normalization(layer: Normalization, node: Any) -> StepRule:
    """Our normalization of the inputs, left to the layer behind it where that can fold it in."""
    return stateless(lambda value: Scaled(value, layer.scale, layer.shift))


def keras_normalization(layer: keras.layers.Normalization, node: Any) -> StepRule:
    """(x - mean) / max(sqrt(variance), epsilon), or its inverse, left to be folded."""
    rank, channels = len(node.input_shapes), int(node.input_shapes[-1])
    # Without an axis one mean and one variance stand for all values.
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
    """x * scale + offset."""

    def step(value: tf.Tensor) -> Scaled:
        channels = (value.shape[-1],)
        scale, offset = (tf.constant(item, tf.float32) for item in (layer.scale, layer.offset))
        return Scaled(value, tf.broadcast_to(scale, channels), tf.broadcast_to(offset, channels))

    return stateless(step)


def batch_normalization(layer: keras.layers.BatchNormalization, node: Any) -> StepRule:
    """With the statistics of training it is a scale and a shift, left to be folded. Source: S.
    Ioffe and C. Szegedy, "Batch normalization" (2015)."""
    rank = len(node.input_shapes)
    if list(layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]) != [rank - 1]:
        raise UnsupportedLayerError(
            f"{described(layer)} normalizes axis {layer.axis}; along the last axis (axis=-1) it "
            "can be stepped"
        )
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    if layer.scale:
        scale *= layer.gamma
    shift = -layer.moving_mean * scale
    if layer.center:
        shift += layer.beta
    return stateless(lambda value: Scaled(value, scale, shift))


def layer_normalization(layer: keras.layers.LayerNormalization, node: Any) -> StepRule:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the channels of one step. Source:
    J. Ba et al., "Layer normalization" (2016)."""
    rank = len(node.input_shapes)
    if list(layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]) not in (
        [-1],
        [rank - 1],
    ):
        raise UnsupportedLayerError(
            f"{described(layer)} normalizes axis {layer.axis}; over the channels (axis=-1) it can "
            "be stepped"
        )

    def step(value: tf.Tensor) -> tf.Tensor:
        share = 1.0 / int(value.shape[-1])
        centred = value - share * tf.reduce_sum(value, -1, keepdims=True)
        variance = share * tf.reduce_sum(centred * centred, -1, keepdims=True)
        result = centred * tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            result *= layer.gamma
        return result + layer.beta if layer.center else result

    return stateless(
        step,
        float_only="a variance spans more orders of magnitude than integers of 8 or 16 bits hold",
    )


def token_embedding(layer: TokenEmbedding, node: Any) -> StepRule:
    """Token ids [1, 1] -> [1, width], left to the layer behind it where that can fold it in."""
    return stateless(lambda ids: Lookup(layer.table, ids))


def embedding(layer: keras.layers.Embedding, node: Any) -> StepRule:
    """Token ids [1, 1] -> [1, width], left to the layer behind it as that of ours."""
    if len(node.input_shapes) != 2:
        raise UnsupportedLayerError(
            f"{described(layer)} reads ids of shape {tuple(node.input_shapes)}; ids of shape "
            "(batch, steps) can be stepped"
        )
    return stateless(
        lambda ids: Lookup(layer.embeddings, ids),
        changed=f"{PADDING_REMOVED}; id 0 is padding" if layer.mask_zero else "",
    )


def time_distributed(layer: keras.layers.TimeDistributed, node: Any) -> StepRule:
    """The layer within, which sees a step alone in any case."""
    from convert.layers import step_rule

    inner = layer.layer
    if isinstance(inner, keras.Model):
        raise UnsupportedLayerError(
            f"{described(layer)} holds the model '{inner.name}'; apply its layers one by one"
        )
    rule = step_rule(inner, _InnerNode(tuple(node.input_shapes), inner))
    if rule.states or rule.sums_up:
        raise UnsupportedLayerError(
            f"{described(layer)} runs the layer '{inner.name}' ({type(inner).__name__}) anew at "
            "every step; only layers without a time axis can be stepped within it"
        )
    return rule


class _InnerNode:
    """What rules ask a node, of the layer within a TimeDistributed."""

    def __init__(self, shape: tuple[Any, ...], layer: Any) -> None:
        self.input_shapes = (shape[0], *shape[2:])
        self.keras_inputs: list[Any] = [None]
        self.call_kwargs: dict[str, Any] = {}


def reshaping(layer: keras.layers.Layer, node: Any) -> StepRule:
    """Flatten and Reshape where they change nothing."""
    before, after = tuple(node.input_shapes), tuple(node.output_shapes)
    if before != after and before[1:] != after[1:]:
        raise UnsupportedLayerError(
            f"{described(layer)} makes {after} of {before}, which mixes time and channels; end "
            "the recurrence with return_sequences=False, or leave the layer out"
        )
    return stateless(lambda value: value, takes_deferred=True)


def merge(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], StepRule]:
    """The rule of a layer that joins two or more values one by one."""

    def rule(layer: keras.layers.Layer, node: Any) -> StepRule:
        return stateless(lambda *values: functools.reduce(function, values))

    return rule


# Mathematics between layers that is stepped, by the name that tf_keras gives the function.
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "__operators__.add": tf.add,
    "math.add": tf.add,
    "math.subtract": tf.subtract,
    "math.multiply": tf.multiply,
}


def operator_on_tensors(layer: Any, node: Any) -> StepRule:
    """``a + b``, ``a - b`` and ``a * b`` of two layers' outputs, written without a layer."""
    name = layer.get_config()["function"]
    if name not in FUNCTIONS or len(node.keras_inputs) != 2:
        raise UnsupportedLayerError(
            f"{described(layer)} computes tf.{str(name)[:60]} outside of Keras' layers, which is "
            "not stepped; replace it by a Keras layer (Add, Multiply, Rescaling)"
        )
    return merge(FUNCTIONS[name])(layer, node)


def average(layer: keras.layers.Average, node: Any) -> StepRule:
    """The mean of two or more layers."""
    return stateless(lambda *values: functools.reduce(tf.add, values) * (1 / len(values)))


def concatenate(layer: keras.layers.Concatenate, node: Any) -> StepRule:
    """Joined along the channels; a product behind it takes the parts one by one."""
    shapes = node.input_shapes
    rank = len(shapes[0] if isinstance(shapes, list) else shapes)
    if layer.axis not in (-1, rank - 1):
        raise UnsupportedLayerError(
            f"{described(layer)} joins along axis {layer.axis}; along the last axis (channels) it "
            "can be stepped"
        )

    def step(*values: Any) -> Joined:
        parts: list[Any] = []
        for value in values:
            parts += (
                value.parts
                if isinstance(value, Joined)
                else [plain(value) if isinstance(value, Lookup) else value]
            )
        return Joined(tuple(parts))

    return stateless(step, takes_deferred=True)
