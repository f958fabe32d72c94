"""Arithmetic and slices of tensors outside of layers are stepped to what both Keras compute."""

from __future__ import annotations

from types import SimpleNamespace

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from calibration.data import random_sequences
from convert.errors import UnsupportedLayerError
from convert.import_conversion.conversion import step_inputs
from convert.import_conversion.original import original_outputs
from convert.importers import import_model
from convert.step.step_module import StepModule
from tests.convert.importers.test_keras import stepped

_OPS = keras3.ops
_NN = tf.nn
# The same functions by both frameworks' names: (keras.ops, tf).
NAMES = {
    "abs": (_OPS.abs, tf.abs),
    "exp": (_OPS.exp, tf.exp),
    "log": (_OPS.log, tf.math.log),
    "sqrt": (_OPS.sqrt, tf.sqrt),
    "square": (_OPS.square, tf.square),
    "maximum": (_OPS.maximum, tf.maximum),
    "minimum": (_OPS.minimum, tf.minimum),
    "clip": (_OPS.clip, tf.clip_by_value),
    "tanh": (_OPS.tanh, tf.tanh),
    "sigmoid": (_OPS.sigmoid, tf.sigmoid),
    "relu": (_OPS.relu, _NN.relu),
    "elu": (_OPS.elu, _NN.elu),
    "silu": (_OPS.silu, _NN.silu),
    "softplus": (_OPS.softplus, _NN.softplus),
    "softsign": (_OPS.softsign, _NN.softsign),
    "leaky_relu": (_OPS.leaky_relu, _NN.leaky_relu),
    "gelu": (lambda x: _OPS.gelu(x, approximate=False), _NN.gelu),
    "softmax": (_OPS.softmax, _NN.softmax),
    "concat": (_OPS.concatenate, tf.concat),
    "stack": (_OPS.stack, tf.stack),
    "split": (_OPS.split, tf.split),
    "unstack": (_OPS.unstack, tf.unstack),
    "mean": (_OPS.mean, tf.reduce_mean),
    "var": (_OPS.var, tf.math.reduce_variance),
    "std": (_OPS.std, tf.math.reduce_std),
    "sum": (_OPS.sum, tf.reduce_sum),
    "max": (_OPS.max, tf.reduce_max),
    "matmul": (_OPS.matmul, tf.matmul),
    "expand_dims": (_OPS.expand_dims, tf.expand_dims),
    "squeeze": (_OPS.squeeze, tf.squeeze),
    "reshape": (_OPS.reshape, tf.reshape),
    "transpose": (_OPS.transpose, tf.transpose),
}
KERAS_3 = SimpleNamespace(
    keras=keras3, **{name: pair[0] for name, pair in NAMES.items()}, constant=_OPS.convert_to_tensor
)
TF_KERAS = SimpleNamespace(
    keras=tf_keras, **{name: pair[1] for name, pair in NAMES.items()}, constant=tf.constant
)
MATRIX = np.linspace(-1, 1, 12).reshape(4, 3).astype("f4")


def _gated(f, x, h):
    g = f.sigmoid(h)
    return g * h + (1.0 - g) * x


# From the frames [batch, steps, 4] and a recurrence's outputs of the same shape.
STEPS = {
    "highway": _gated,
    "scaled": lambda f, x, h: f.keras.layers.Dense(3)(x / 255.0) + 2 * h[:, :, :3] - 1,
    "signs": lambda f, x, h: -x + f.abs(h) * f.square(x) - h**3,
    "functions": lambda f, x, h: f.exp(h) + f.sqrt(f.abs(x) + 0.5) - f.log(2.0 + f.tanh(h)),
    "limits": lambda f, x, h: f.clip(x, -0.5, 0.5) + f.maximum(h, x) * f.minimum(h, 0.1),
    "activations": lambda f, x, h: (
        f.elu(x) + f.silu(h) + f.softplus(x) + f.softsign(x) + f.leaky_relu(h) + f.gelu(x)
    ),
    "joined": lambda f, x, h: f.concat([x, f.relu(h)], -1),
    "stacked": lambda f, x, h: f.reshape(f.stack([x[:, -1], h[:, -1]], 2), (-1, 8)),
    "split": lambda f, x, h: f.split(x, 2, -1)[1] * f.split(h, 2, 2)[0],
    "unstacked": lambda f, x, h: f.stack(f.unstack(h, axis=-1)[::-1], -1) + x,
    "centred": lambda f, x, h: (
        (x - f.mean(x, -1, keepdims=True)) / f.sum(f.exp(h), 2, keepdims=True)
    ),
    "spread": lambda f, x, h: (
        (x - f.mean(x, -1, keepdims=True)) / f.std(h, -1, keepdims=True)
        + f.var(x, 2, keepdims=True)
    ),
    "mean of channels": lambda f, x, h: f.expand_dims(f.mean(x, -1), -1) * h,
    "matrix": lambda f, x, h: f.matmul(h, f.constant(MATRIX)),
    "transposed": lambda f, x, h: f.squeeze(
        f.transpose(f.expand_dims(x * h, 2), (0, 1, 3, 2)) / 2.0, axis=-1
    ),
    "channels": lambda f, x, h: f.concat([x[:, :, :2], h[:, :, 1:3], x[:, :, 3:]], -1),
    "vector": lambda f, x, h: x * f.constant(MATRIX[:, 0]) + f.constant(MATRIX[:, :1].T),
    "largest": lambda f, x, h: f.softmax(x) * f.max(h, axis=-1, keepdims=True),
    "last": lambda f, x, h: f.keras.layers.Dense(2)(h[:, -1]),
    "last step": lambda f, x, h: f.sigmoid(h[:, -1, :]) * x[:, -1, :],
    "last channel": lambda f, x, h: h[:, -1, 1:3],
    "mean of steps": lambda f, x, h: f.keras.layers.Dense(2)(f.mean(h, 1)),
    "largest step": lambda f, x, h: f.max(h, axis=1),
    "summary with axes": lambda f, x, h: f.expand_dims(h[:, -1], 1) * f.expand_dims(x[:, -1], 2),
}
QUICK = {"highway", "scaled", "joined", "split", "centred", "last step", "summary with axes"}


def built(framework, make, steps=20):
    """Return a model of frames of 4 channels with a recurrence in front of the operations."""
    keras = framework.keras
    keras.utils.set_random_seed(3)
    x = keras.Input((steps, 4))
    h = keras.layers.GRU(4, return_sequences=True)(x)
    return keras.Model(x, make(framework, x, h))


def wanted_and_given(path):
    """Return what the framework computes after each step of a sequence, and what the step does."""
    imported = import_model(path)
    module = StepModule(imported.graph)
    (sequence,) = random_sequences(step_inputs(module), 5, 1, 7)
    wanted = original_outputs(imported, module, sequence)
    given = stepped(module, sequence)
    return [(wanted[name], given[name]) for name in module.outputs]


CASES = [
    pytest.param(
        framework, name, marks=() if name in QUICK else pytest.mark.slow, id=f"{title}-{name}"
    )
    for title, framework in (("keras3", KERAS_3), ("tf_keras", TF_KERAS))
    for name in STEPS
]


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_an_operation_is_stepped(framework, name, tmp_path):
    built(framework, STEPS[name]).save(tmp_path / "m.keras")
    for wanted, given in wanted_and_given(tmp_path / "m.keras"):
        assert wanted.shape == given.shape
        assert np.ptp(wanted) > 1e-3
        np.testing.assert_allclose(given, wanted, atol=1e-5 * max(1.0, np.ptp(wanted)))


REFUSED = {
    "takes steps of the sequence": lambda f, x, h: h[:, 2],
    "a value of its own for each": lambda f, x, h: h + f.constant(np.ones((20, 4), "f4")),
    "outside of Keras' layers": lambda f, x, h: (
        keras3.ops.flip(h, 1) if f is KERAS_3 else tf.reverse(h, [1])
    ),
}


@pytest.mark.parametrize("framework", [KERAS_3, TF_KERAS], ids=["keras3", "tf_keras"])
@pytest.mark.parametrize("words", REFUSED)
def test_an_operation_over_time_is_refused_by_name(framework, words, tmp_path):
    built(framework, REFUSED[words]).save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedLayerError, match=words):
        StepModule(import_model(tmp_path / "m.keras").graph)
