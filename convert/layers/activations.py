"""Activation functions: their bounds, and forms that every TFLite runtime has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from convert.layers.layer_rule import in_float

Function = Callable[[Any], tf.Tensor]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """Compute Keras 2's form, 0.2 x + 0.5 cut to [0, 1]. Every integer runtime has RELU6."""
    return tf.nn.relu6(1.2 * x + 3.0) * (1 / 6)


def hard_sigmoid_3(x: tf.Tensor) -> tf.Tensor:
    """Compute Keras 3's form, x / 6 + 0.5 cut to [0, 1]."""
    return tf.nn.relu6(x + 3.0) * (1 / 6)


def hard_silu(x: tf.Tensor) -> tf.Tensor:
    """Compute x * hard_sigmoid_3(x); A. Howard et al., "Searching for MobileNetV3" (2019)."""
    return x * hard_sigmoid_3(x)


@in_float
def softsign(x: tf.Tensor) -> tf.Tensor:
    """x / (1 + |x|)."""
    return x / (1.0 + tf.maximum(x, -x))


@in_float
def elu(x: tf.Tensor, alpha: float = 1.0) -> tf.Tensor:
    """Compute x where it is positive, else alpha * (e^x - 1)."""
    if alpha == 1:
        return tf.nn.elu(x)
    above = tf.nn.relu(x)
    return above + alpha * tf.nn.elu(x - above)


@in_float
def selu(x: tf.Tensor) -> tf.Tensor:
    """Scaled ELU; G. Klambauer et al., "Self-normalizing neural networks" (2017)."""
    above = tf.nn.relu(x)
    return SELU_SCALE * above + SELU_SCALE * SELU_ALPHA * tf.nn.elu(x - above)


@in_float
def softplus(x: tf.Tensor) -> tf.Tensor:
    """log(1 + e^x), in a form that does not overflow."""
    size = tf.maximum(x, -x)
    return tf.nn.relu(x) + tf.math.log(1.0 + tf.exp(-size))


@in_float
def gelu(x: tf.Tensor) -> tf.Tensor:
    """x * the normal distribution's Phi(x); D. Hendrycks and K. Gimpel, "GELU" (2016)."""
    return tf.nn.gelu(x, approximate=False)


@in_float
def exponential(x: tf.Tensor) -> tf.Tensor:
    """e^x."""
    return tf.exp(x)


@in_float
def mish(x: tf.Tensor) -> tf.Tensor:
    """x * tanh(softplus(x)); D. Misra, "Mish" (2019)."""
    return x * tf.tanh(softplus(x))


@in_float
def log_softmax(x: tf.Tensor) -> tf.Tensor:
    """log(softmax(x)) over the channels."""
    return tf.nn.log_softmax(x)


@in_float
def thresholded_relu(
    x: tf.Tensor, threshold: float, slope: float = 0.0, top: float | None = None
) -> tf.Tensor:
    """Compute x above the threshold, at most ``top``; slope * (x - threshold) below it.

    The runtimes' comparison gives booleans, which few targets take. This is 1 above the threshold
    and 0 up to it, as any difference of two floats times 1e30 is above 6."""
    above = tf.nn.relu6((x - threshold) * 1e30) * (1 / 6)
    result = x * above
    if top is not None:
        result = tf.minimum(tf.nn.relu(result), top)
    return result - slope * tf.nn.relu(threshold - x) if slope else result


def leaky_relu(x: tf.Tensor, slope: Any = 0.2) -> tf.Tensor:
    """Compute x where it is positive, else slope * x, with one slope or one per channel.

    LEAKY_RELU and PRELU are not among the integer operators of every target; MAXIMUM is.
    """
    slopes = np.asarray(slope, np.float32)
    if (slopes < 1).any():
        x = tf.maximum(x, np.minimum(slopes, 1) * x)
    if (slopes > 1).any():
        x = minimum(x, np.maximum(slopes, 1) * x)
    return x


def minimum(a: tf.Tensor, b: Any) -> tf.Tensor:
    """Return the smaller one. The quantizer does not know MINIMUM in integers."""
    return a - tf.nn.relu(a - b)


def capped_relu(x: tf.Tensor, top: float) -> tf.Tensor:
    """Cut x to [0, top] by RELU6, which fuses into the operator before it."""
    return tf.nn.relu6(x * (6 / top)) * (top / 6)


# The form to use where TFLite has no operator for Keras' own, or one that few runtimes have.
FORMS: dict[Any, Function] = {
    keras.activations.elu: elu,
    keras.activations.exponential: exponential,
    keras.activations.gelu: gelu,
    keras.activations.hard_sigmoid: hard_sigmoid,
    keras.activations.mish: mish,
    keras.activations.selu: selu,
    keras.activations.softplus: softplus,
    keras.activations.softsign: softsign,
    tf.nn.leaky_relu: leaky_relu,
}

# Range (low, high) in real units of the bounded ones.
BOUNDS: dict[Any, tuple[float, float]] = {
    keras.activations.tanh: (-1.0, 1.0),
    keras.activations.sigmoid: (0.0, 1.0),
    keras.activations.hard_sigmoid: (0.0, 1.0),
    hard_sigmoid_3: (0.0, 1.0),
    keras.activations.softmax: (0.0, 1.0),
    keras.activations.softsign: (-1.0, 1.0),
    softsign: (-1.0, 1.0),
    tf.nn.relu6: (0.0, 6.0),
}


# The low end of those that have no high one.
LOW_ENDS: dict[Any, float] = {
    keras.activations.relu: 0.0,
    keras.activations.softplus: 0.0,
    keras.activations.exponential: 0.0,
    keras.activations.elu: -1.0,
}


def step_form(activation: Any) -> Function:
    """Return the function to put into a step graph."""
    form: Function = FORMS.get(activation, activation)
    return form


def magnitude(activation: Any) -> float | None:
    """Return the largest magnitude that it can give, or None."""
    limits = BOUNDS.get(activation)
    return max(-limits[0], limits[1]) if limits else None


def low_end(activation: Any) -> float | None:
    """Return the lowest value that it can give, or None."""
    return BOUNDS[activation][0] if activation in BOUNDS else LOW_ENDS.get(activation)


def is_gate(activation: Any) -> bool:
    """Tell whether all its values are from 0 to 1."""
    return BOUNDS.get(activation) == (0.0, 1.0)
