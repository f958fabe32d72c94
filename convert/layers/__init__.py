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
TIME_FREQUENCY = "over time and frequency, or of one image"
ONE_IMAGE = "of one frame with several axes"
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
    "ConvLSTM1D": LayerEntry("conv_lstm.convolutional_lstm", RECURRENT),
    "ConvLSTM2D": LayerEntry("conv_lstm.convolutional_lstm", RECURRENT),
    "GRU": LayerEntry("within_frame.recurrence", RECURRENT),
    "GRUCell": LayerEntry("keras_recurrent.cell_called", RECURRENT),
    "LSTM": LayerEntry("within_frame.recurrence", RECURRENT),
    "LSTMCell": LayerEntry("keras_recurrent.cell_called", RECURRENT),
    "RNN": LayerEntry("within_frame.recurrence", RECURRENT),
    "SimpleRNN": LayerEntry("within_frame.recurrence", RECURRENT),
    "SimpleRNNCell": LayerEntry("keras_recurrent.cell_called", RECURRENT),
    "AveragePooling1D": LayerEntry("windowed.causal_pooling", LAST_STEPS),
    "Conv1D": LayerEntry("windowed.causal_convolution", LAST_STEPS),
    "DepthwiseConv1D": LayerEntry("windowed.depthwise_convolution", LAST_STEPS),
    "MaxPooling1D": LayerEntry("windowed.causal_pooling", LAST_STEPS),
    "SeparableConv1D": LayerEntry("windowed.separable_convolution", LAST_STEPS),
    "ZeroPadding1D": LayerEntry("time_frequency.zero_padding", LAST_STEPS),
    "AveragePooling2D": LayerEntry("time_frequency.over_time_and_frequency", TIME_FREQUENCY),
    "Conv2D": LayerEntry("time_frequency.over_time_and_frequency", TIME_FREQUENCY),
    "DepthwiseConv2D": LayerEntry("time_frequency.over_time_and_frequency", TIME_FREQUENCY),
    "MaxPooling2D": LayerEntry("time_frequency.over_time_and_frequency", TIME_FREQUENCY),
    "SeparableConv2D": LayerEntry("time_frequency.over_time_and_frequency", TIME_FREQUENCY),
    "ZeroPadding2D": LayerEntry("time_frequency.zero_padding", TIME_FREQUENCY),
    "Bidirectional": LayerEntry("within_frame.bidirectional", ONE_IMAGE),
    "Conv2DTranspose": LayerEntry("time_frequency.along_frequency", ONE_IMAGE),
    "Cropping2D": LayerEntry("time_frequency.along_frequency", ONE_IMAGE),
    "GlobalAveragePooling2D": LayerEntry("frame.mean_of_frame", ONE_IMAGE),
    "GlobalMaxPooling2D": LayerEntry("frame.largest_of_frame", ONE_IMAGE),
    "UpSampling2D": LayerEntry("time_frequency.along_frequency", ONE_IMAGE),
    "GlobalAveragePooling1D": LayerEntry("windowed.running_mean", ALL_STEPS),
    "GlobalMaxPooling1D": LayerEntry("windowed.running_max", ALL_STEPS),
    "edgestep>TokenEmbedding": LayerEntry("pointwise.token_embedding", ONE_STEP),
    "Activation": LayerEntry("pointwise.activation", ONE_STEP),
    "Dense": LayerEntry("pointwise.dense", ONE_STEP),
    "ELU": LayerEntry("pointwise.exponential_linear", ONE_STEP),
    "Embedding": LayerEntry("pointwise.embedding", ONE_STEP),
    "Flatten": LayerEntry("frame.flatten", ONE_STEP),
    "LeakyReLU": LayerEntry("pointwise.sloped_relu", ONE_STEP),
    "Permute": LayerEntry("frame.permute", ONE_STEP),
    "PReLU": LayerEntry("pointwise.parametric_relu", ONE_STEP),
    "ReLU": LayerEntry("pointwise.relu", ONE_STEP),
    "RepeatVector": LayerEntry("frame.repeat_vector", ONE_STEP),
    "Reshape": LayerEntry("frame.reshape", ONE_STEP),
    "Softmax": LayerEntry("pointwise.on_last_axis", ONE_STEP),
    "ThresholdedReLU": LayerEntry("pointwise.jumping_relu", ONE_STEP),
    "TimeDistributed": LayerEntry("distributed.time_distributed", ONE_STEP),
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
    "Identity": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "Masking": LayerEntry("pointwise.masking", WITHOUT_EFFECT),
    "SpatialDropout1D": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
    "SpatialDropout2D": LayerEntry("pointwise.removed", WITHOUT_EFFECT),
}
# Nobody writes these layers: they are how ``a + b`` and ``y[:, -1]`` are kept.
OPERATION_LAYERS = {"SlicingOpLambda", "TensorOperation", "TFOpLambda"}
OPERATION_RULE = "operations.operation_on_tensors"

_ATTENTION = (
    "attends to the whole sequence, so a step would need the future; use a recurrent layer, or a "
    "causal cell over a bounded past"
)
_LOOKUP = (
    "prepares values in front of the network, and its tables are no weights; build the model "
    "without it, with its result as the input (token ids: keras.Input((None,), dtype='int32')), "
    "and give --data that has gone through it"
)
_QAT = (
    "is a wrapper of quantization-aware training; save the float model, before quantize_model() "
    "(edgestep trains quantization-aware itself), or make a TFLite file of it and use 'edgestep "
    "adopt'"
)
_SPECTRA = (
    "makes frames of samples; compute them ahead of the model, which then takes a frame at each "
    "step, and save the rest of it"
)
# Why some kinds of layers cannot be stepped and what to use instead, by class name. Some exist in
# one version of Keras only.
REFUSED: dict[str, str] = {
    "AdditiveAttention": _ATTENTION,
    "Attention": _ATTENTION,
    "Bidirectional": (
        "reads the sequence backwards too, so its first step needs the last one; train with the "
        "layer within it alone (LSTM, GRU), stacked if accuracy is lacking; along an axis of each "
        "frame, within TimeDistributed, it can be stepped"
    ),
    "Conv1DTranspose": "gives more steps than it takes; use Conv1D with padding='causal'",
    "EinsumDense": "can be written as Dense with the same weights, which can be stepped",
    "GroupQueryAttention": _ATTENTION,
    "Lambda": (
        "holds code, which is not run and cannot be stepped; replace it by Keras layers "
        "(Rescaling, Add, Multiply, Activation, Concatenate)"
    ),
    "MelSpectrogram": _SPECTRA,
    "MultiHeadAttention": _ATTENTION,
    "RMSNormalization": (
        "can be written with keras.ops, which are stepped: x * rsqrt(mean(square(x), -1, "
        "keepdims=True) + epsilon), and a Multiply or Dense for its scale"
    ),
    "ReversibleEmbedding": (
        "can be written as an Embedding, e, and its table for the way back, both of which are "
        "stepped: keras.ops.matmul(y, keras.ops.transpose(e(keras.ops.arange(ids))))"
    ),
    "STFTSpectrogram": _SPECTRA,
    "SpectralNormalization": (
        "is a wrapper of training; put the layer within it in its place, with its weights, and "
        "save again"
    ),
    "CategoryEncoding": _LOOKUP,
    "Discretization": _LOOKUP,
    "Hashing": _LOOKUP,
    "IntegerLookup": _LOOKUP,
    "PruneLowMagnitude": (
        "is a pruning wrapper of training; call tfmot.sparsity.keras.strip_pruning(model) and save "
        "again, or save the model as .h5, of which the layer within is read"
    ),
    "QuantizeAnnotate": _QAT,
    "QuantizeLayer": _QAT,
    "QuantizeWrapper": _QAT,
    "QuantizeWrapperV2": _QAT,
    "StringLookup": _LOOKUP,
    "TextVectorization": _LOOKUP,
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
        if kind.__name__ in OPERATION_LAYERS:
            return _rule(OPERATION_RULE)(layer, node)
        if (name := registered_name(kind)) in LAYERS:
            return _rule(LAYERS[name].implementation)(layer, node)
        if kind.__name__ in REFUSED:
            raise refusal(layer.name, kind.__name__)
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
