"""Step rules for each kind of layer: one function each, listed here.

The list holds names of modules, so that reading it does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from convert.errors import UnsupportedLayerError

if TYPE_CHECKING:
    from convert.layers.layer_rule import StepRule


class LayerEntry(NamedTuple):
    """A kind of layer in the list.

    Attributes:
        implementation: "module.function" within this package. It takes the layer and the node at
            which the layer is called, and gives its step, or refuses it.
        purpose: what the layer does.
    """

    implementation: str
    purpose: str


RECURRENT = "recurrent"
LAST_STEPS = "over the last steps"
ALL_STEPS = "over all steps so far"
ONE_STEP = "of one step"
SCALING = "scaling"
JOINING = "joining"
WITHOUT_EFFECT = "without effect"

# The prefix under which Keras registers our own layers.
OWN = "edgestep>"

# Keys are the names under which Keras registers the classes. A layer is looked up by its class and
# then by its bases.
LAYERS: dict[str, LayerEntry] = {
    "edgestep>Recurrence": LayerEntry("recurrent.recurrence", RECURRENT),
    "GRU": LayerEntry("keras_recurrent.recurrent_layer", RECURRENT),
    "LSTM": LayerEntry("keras_recurrent.recurrent_layer", RECURRENT),
    "RNN": LayerEntry("keras_recurrent.recurrent_layer", RECURRENT),
    "SimpleRNN": LayerEntry("keras_recurrent.recurrent_layer", RECURRENT),
    "AveragePooling1D": LayerEntry("windowed.causal_pooling", LAST_STEPS),
    "Conv1D": LayerEntry("windowed.causal_convolution", LAST_STEPS),
    "DepthwiseConv1D": LayerEntry("windowed.depthwise_convolution", LAST_STEPS),
    "MaxPooling1D": LayerEntry("windowed.causal_pooling", LAST_STEPS),
    "SeparableConv1D": LayerEntry("windowed.separable_convolution", LAST_STEPS),
    "ZeroPadding1D": LayerEntry("windowed.zero_padding", LAST_STEPS),
    "GlobalAveragePooling1D": LayerEntry("windowed.running_mean", ALL_STEPS),
    "GlobalMaxPooling1D": LayerEntry("windowed.running_max", ALL_STEPS),
    "edgestep>TokenEmbedding": LayerEntry("pointwise.token_embedding", ONE_STEP),
    "Activation": LayerEntry("pointwise.activation", ONE_STEP),
    "Dense": LayerEntry("pointwise.dense", ONE_STEP),
    "ELU": LayerEntry("pointwise.exponential_linear", ONE_STEP),
    "Embedding": LayerEntry("pointwise.embedding", ONE_STEP),
    "Flatten": LayerEntry("pointwise.reshaping", ONE_STEP),
    "LeakyReLU": LayerEntry("pointwise.sloped_relu", ONE_STEP),
    "PReLU": LayerEntry("pointwise.parametric_relu", ONE_STEP),
    "ReLU": LayerEntry("pointwise.relu", ONE_STEP),
    "Reshape": LayerEntry("pointwise.reshaping", ONE_STEP),
    "Softmax": LayerEntry("pointwise.on_last_axis", ONE_STEP),
    "ThresholdedReLU": LayerEntry("pointwise.jumping_relu", ONE_STEP),
    "TimeDistributed": LayerEntry("pointwise.time_distributed", ONE_STEP),
    "edgestep>Normalization": LayerEntry("scaling.normalization", SCALING),
    "edgestep>ValueHead": LayerEntry("pointwise.same", SCALING),
    "BatchNormalization": LayerEntry("scaling.batch_normalization", SCALING),
    "LayerNormalization": LayerEntry("scaling.layer_normalization", SCALING),
    "Normalization": LayerEntry("scaling.keras_normalization", SCALING),
    "Rescaling": LayerEntry("scaling.rescaling", SCALING),
    "Add": LayerEntry("joining.add", JOINING),
    "Average": LayerEntry("joining.average", JOINING),
    "Concatenate": LayerEntry("joining.concatenate", JOINING),
    "Maximum": LayerEntry("joining.maximum", JOINING),
    "Minimum": LayerEntry("joining.minimum", JOINING),
    "Multiply": LayerEntry("joining.multiply", JOINING),
    "Subtract": LayerEntry("joining.subtract", JOINING),
    "edgestep>SensorNoise": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "ActivityRegularization": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "AlphaDropout": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "Dropout": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "GaussianDropout": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "GaussianNoise": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "Masking": LayerEntry("pointwise.masking", WITHOUT_EFFECT),
    "SpatialDropout1D": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
}
# Nobody writes these layers: they are how ``a + b`` and ``y[:, -1]`` are kept.
OPERATION_LAYERS = {"SlicingOpLambda", "TensorOperation", "TFOpLambda"}
OPERATION_RULE = "operations.operation_on_tensors"

_ATTENTION = (
    "attends to the whole sequence, so a step would need the future; use a recurrent layer, or a "
    "causal cell over a bounded past"
)
# Why some kinds of layers cannot be stepped and what to use instead, by class name. Some exist in
# one version of Keras only.
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


def step_rule(layer: Any, node: Any) -> StepRule:
    """Find the rule by which a layer is stepped.

    Args:
        layer: a layer of tf_keras, or one of ours.
        node: the node of the network's graph at which the layer is called.

    Raises:
        UnsupportedLayerError: there is none for this kind of layer, or it refuses this one.
    """
    for kind in type(layer).__mro__:
        if kind.__name__ in REFUSED:
            raise refusal(layer.name, kind.__name__)
        if kind.__name__ in OPERATION_LAYERS:
            return _rule(OPERATION_RULE)(layer, node)
        if (name := registered_name(kind)) in LAYERS:
            return _rule(LAYERS[name].implementation)(layer, node)
    raise refusal(layer.name, type(layer).__name__)


def registered_name(kind: type) -> str | None:
    """Return a class's name in LAYERS; None if it is neither Keras' own nor ours."""
    import tf_keras

    name = tf_keras.saving.get_registered_name(kind)
    keras_own = kind.__module__.split(".")[0] in ("keras", "tf_keras")
    return name if keras_own or name.startswith(OWN) else None


def _rule(implementation: str) -> Callable[[Any, Any], StepRule]:
    module, _, function = implementation.partition(".")
    found = getattr(importlib.import_module(f"convert.layers.{module}"), function)
    return cast("Callable[[Any, Any], StepRule]", found)


def refusal(name: str, kind: str) -> UnsupportedLayerError:
    """Make the error for a layer that has no rule, from its name and its class's name."""
    reason = REFUSED.get(kind)
    if reason is None:
        reason = (
            "cannot be stepped; 'edgestep convert --list-layers' names the layers that can be, "
            "docs/import.md says what they mean in a stream"
        )
    return UnsupportedLayerError(f"layer '{name}' ({kind}) {reason}")
