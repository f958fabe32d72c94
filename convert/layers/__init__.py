"""How each kind of layer computes one time step: a function per kind, listed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers import keras_recurrent, pointwise, recurrent, windowed
from convert.layers.activations import minimum
from convert.layers.layer_rule import StepRule
from models.layers import Normalization, Recurrence, SensorNoise, TokenEmbedding, ValueHead

_layers = keras.layers

# By class; a layer is looked up by its class and then by its bases. Each function takes the layer
# and the node of the graph at which it is called, and refuses what cannot be stepped.
RULES: dict[type, Callable[[Any, Any], StepRule]] = {
    Recurrence: recurrent.recurrence,
    Normalization: pointwise.normalization,
    TokenEmbedding: pointwise.token_embedding,
    SensorNoise: pointwise.removed,
    ValueHead: pointwise.same,
    _layers.Activation: pointwise.activation,
    _layers.ActivityRegularization: pointwise.removed,
    _layers.Add: pointwise.merge(tf.add),
    _layers.AlphaDropout: pointwise.removed,
    _layers.Average: pointwise.average,
    _layers.AveragePooling1D: windowed.causal_pooling,
    _layers.BatchNormalization: pointwise.batch_normalization,
    _layers.Concatenate: pointwise.concatenate,
    _layers.Conv1D: windowed.causal_convolution,
    _layers.Dense: pointwise.dense,
    _layers.DepthwiseConv1D: windowed.depthwise_convolution,
    _layers.Dropout: pointwise.removed,
    _layers.ELU: pointwise.same,
    _layers.Embedding: pointwise.embedding,
    _layers.Flatten: pointwise.reshaping,
    _layers.GaussianDropout: pointwise.removed,
    _layers.GaussianNoise: pointwise.removed,
    _layers.GlobalAveragePooling1D: windowed.running_mean,
    _layers.GlobalMaxPooling1D: windowed.running_max,
    _layers.GRU: keras_recurrent.recurrent_layer,
    _layers.LayerNormalization: pointwise.layer_normalization,
    _layers.LeakyReLU: pointwise.sloped_relu,
    _layers.LSTM: keras_recurrent.recurrent_layer,
    _layers.Masking: pointwise.masking,
    _layers.Maximum: pointwise.merge(tf.maximum),
    _layers.MaxPooling1D: windowed.causal_pooling,
    _layers.Minimum: pointwise.merge(minimum),
    _layers.Multiply: pointwise.merge(tf.multiply),
    _layers.Normalization: pointwise.keras_normalization,
    _layers.PReLU: pointwise.parametric_relu,
    _layers.ReLU: pointwise.relu,
    _layers.Rescaling: pointwise.rescaling,
    _layers.Reshape: pointwise.reshaping,
    _layers.RNN: keras_recurrent.recurrent_layer,
    _layers.SeparableConv1D: windowed.separable_convolution,
    _layers.SimpleRNN: keras_recurrent.recurrent_layer,
    _layers.Softmax: pointwise.on_last_axis,
    _layers.SpatialDropout1D: pointwise.removed,
    _layers.Subtract: pointwise.merge(tf.subtract),
    _layers.TimeDistributed: pointwise.time_distributed,
    _layers.ZeroPadding1D: windowed.zero_padding,
}

_ATTENTION = (
    "attends to the whole sequence, so a step would need the future; use a recurrent layer, or a "
    "causal cell over a bounded past"
)
# Why kinds of layers cannot be stepped, and what to use, by class name: some exist in one Keras
# alone.
REFUSED: dict[str, str] = {
    "AdditiveAttention": _ATTENTION,
    "Attention": _ATTENTION,
    "Bidirectional": (
        "reads the sequence backwards too, so its first step needs the last one; train with the "
        "layer within it alone (LSTM, GRU), stacked if accuracy is lacking"
    ),
    "Conv1DTranspose": "gives more steps than it takes; use Conv1D with padding='causal'",
    "GroupQueryAttention": _ATTENTION,
    "Lambda": (
        "holds code, which is not run and cannot be stepped; replace it by Keras layers "
        "(Rescaling, Add, Multiply, Activation, Concatenate)"
    ),
    "MultiHeadAttention": _ATTENTION,
    "Permute": "exchanges time and channels; leave it out",
    "RepeatVector": (
        "repeats a whole sequence's summary; feed it as a further input of every step instead"
    ),
    "UpSampling1D": "gives more steps than it takes; leave it out",
}


def step_rule(layer: keras.layers.Layer, node: Any) -> StepRule:
    """The rule by which a layer is stepped.

    Raises:
        UnsupportedLayerError: there is none for this kind of layer, or it refuses this one.
    """
    for kind in type(layer).__mro__:
        if kind.__name__ in REFUSED:
            raise refusal(layer.name, kind.__name__)
        if kind.__name__ == "TFOpLambda":  # a class that tf_keras does not export
            return pointwise.operator_on_tensors(layer, node)
        if kind in RULES:
            return RULES[kind](layer, node)
    raise refusal(layer.name, type(layer).__name__)


def refusal(name: str, kind: str) -> UnsupportedLayerError:
    """The error for a layer of this name and class name, which has no rule."""
    reason = REFUSED.get(kind)
    if reason is None:
        reason = (
            "cannot be stepped; 'edgestep convert --list-layers' names the layers that can be, "
            "docs/import.md says what they mean in a stream"
        )
    return UnsupportedLayerError(f"layer '{name}' ({kind}) {reason}")
