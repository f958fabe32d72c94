"""Rebuild a PyTorch network of Keras layers, so that it can be stepped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from convert.importers.pytorch.description import (
    ActivationLayer,
    ConvolutionLayer,
    EmbeddingLayer,
    LayerWithWeights,
    LinearLayer,
    NormLayer,
    PReluLayer,
    RecurrentLayer,
    ResidualLayer,
    ScaleLayer,
)
from convert.importers.pytorch.files import Arrays
from convert.importers.pytorch.network import Part, PyTorchNetwork, depth_of
from convert.layers import activations

_A = keras.activations
# By PyTorch's names, from the slope or alpha that the description gives.
FUNCTIONS: dict[str, Callable[[float], Any]] = {
    "relu": lambda _: _A.relu,
    "tanh": lambda _: _A.tanh,
    "sigmoid": lambda _: _A.sigmoid,
    "softmax": lambda _: _A.softmax,
    "log_softmax": lambda _: activations.log_softmax,
    "elu": lambda alpha: lambda x: activations.elu(x, alpha),
    "leaky_relu": lambda slope: lambda x: activations.leaky_relu(x, slope),
    "gelu": lambda _: _A.gelu,
    "silu": lambda _: _A.swish,
    "selu": lambda _: _A.selu,
    "relu6": lambda _: lambda x: activations.capped_relu(x, 6.0),
    "hardsigmoid": lambda _: activations.hard_sigmoid_3,
    "hardswish": lambda _: activations.hard_silu,
    "hardtanh": lambda _: lambda x: activations.capped_relu(x + 1.0, 2.0) - 1.0,
    "softplus": lambda _: _A.softplus,
    "softsign": lambda _: _A.softsign,
    "mish": lambda _: _A.mish,
}


def to_keras(network: PyTorchNetwork) -> keras.Model:
    """Rebuild the network of Keras layers.

    It takes token ids [batch, steps] or frames [batch, steps, inputs], and gives what the last
    layer gives, after every step or after the last one.

    Keras has one bias where PyTorch has two, so they are added. Both order the gates alike (i, f,
    g, o), except a GRU's: r, z, n in PyTorch and z, r, h in Keras.
    """
    if network.vocabulary is not None:
        inputs = keras.Input((None,), dtype="int32", name="x")
    else:
        inputs = keras.Input((None, network.inputs), name="x")
    value = _through(inputs, network.layers, "")
    return keras.Model(inputs, value, name="pytorch_network")


def _through(value: Any, parts: Sequence[Part], where: str) -> Any:
    """Pass a value through layers; ``where`` begins the names of those in a residual."""
    for number, part in enumerate(parts):
        layer, weights, inner = part
        place = f"{where}{number}"
        if isinstance(layer, RecurrentLayer):
            value = _keras_recurrence(value, layer, weights, place)
        elif isinstance(layer, ResidualLayer):
            around = value if layer.channels is None else value[..., : layer.channels]
            value = keras.layers.Add(name=f"residual_{place}")(
                [around, _through(value, inner, f"{place}_")]
            )
        else:
            built, given = _keras_layer(part, place)
            value = built(value)
            if given:
                built.set_weights(given)
    return value


def _keras_layer(part: Part, place: str) -> tuple[keras.layers.Layer, list[NDArray[Any]]]:
    """Make the Keras layer of one that needs only the last steps, and its weights."""
    layer, weights, _ = part
    bias = [weights["bias"]] if "bias" in weights else []
    if isinstance(layer, ActivationLayer):
        function = FUNCTIONS[layer.function](layer.slope)
        return keras.layers.Activation(function, name=f"{layer.function}_{place}"), []
    if isinstance(layer, ScaleLayer):
        return _keras_scale(layer, f"scale_{place}"), []
    assert not isinstance(layer, ResidualLayer | RecurrentLayer)  # noqa: S101
    name = _name(layer, place)
    if isinstance(layer, EmbeddingLayer):
        table = weights["weight"]
        return keras.layers.Embedding(*table.shape, name=name), [table]
    if isinstance(layer, LinearLayer):
        dense = keras.layers.Dense(len(weights["weight"]), use_bias=bool(bias), name=name)
        return dense, [weights["weight"].T, *bias]
    if isinstance(layer, ConvolutionLayer):
        filters, _, size = weights["weight"].shape
        convolution = keras.layers.Conv1D(
            filters, size, padding="causal", dilation_rate=layer.dilation, groups=layer.groups,
            use_bias=bool(bias), name=name,
        )  # fmt: skip
        return convolution, [weights["weight"].transpose(2, 1, 0), *bias]
    if isinstance(layer, PReluLayer):
        slope = weights["weight"] if len(weights["weight"]) > 1 else float(weights["weight"][0])
        return keras.layers.Activation(
            lambda x: activations.leaky_relu(x, slope), name=name), []  # fmt: skip
    return _keras_norm(layer, weights, name)


def _keras_scale(layer: ScaleLayer, name: str) -> keras.layers.Layer:
    if layer.mean is not None or layer.std is not None:
        mean = np.asarray(layer.mean or 0.0, np.float32)
        deviation = np.asarray(1.0 if layer.std is None else layer.std, np.float32)
        if mean.ndim or deviation.ndim:
            mean, deviation = np.broadcast_arrays(mean, deviation)
        return keras.layers.Rescaling(1 / deviation, -mean / deviation, name=name)
    scale = np.asarray(1.0 if layer.scale is None else layer.scale, np.float32)
    return keras.layers.Rescaling(scale, np.asarray(layer.offset or 0.0, np.float32), name=name)


def _keras_norm(
    layer: NormLayer, weights: Arrays, name: str
) -> tuple[keras.layers.Layer, list[NDArray[Any]]]:
    own = [weights[key] for key in ("weight", "bias") if key in weights]
    options = {"epsilon": layer.eps, "center": "bias" in weights, "scale": "weight" in weights}
    if layer.kind == "layer_norm":
        return keras.layers.LayerNormalization(**options, name=name), own
    statistics = [weights["running_mean"], weights["running_var"]]
    return keras.layers.BatchNormalization(**options, name=name), own + statistics


def _keras_recurrence(value: Any, layer: RecurrentLayer, weights: Arrays, place: str) -> Any:
    depth = depth_of(weights)
    for level in range(depth):
        w, u = weights[f"weight_ih_l{level}"], weights[f"weight_hh_l{level}"]
        options: dict[str, Any] = {
            "use_bias": f"bias_ih_l{level}" in weights,
            # If only the last output counts, the lower layers still give all of theirs.
            "return_sequences": layer.output == "sequence" or level < depth - 1,
            "name": f"{_name(layer, place)}_{level}",
        }
        units = u.shape[1]
        if layer.cell == "rnn":
            built = keras.layers.SimpleRNN(units, activation=layer.nonlinearity, **options)
        elif layer.cell == "lstm":
            built = keras.layers.LSTM(units, **options)
        else:
            built = keras.layers.GRU(units, reset_after=True, **options)
        value = built(value)
        given = [w, u]
        if options["use_bias"]:
            biases = weights[f"bias_ih_l{level}"], weights[f"bias_hh_l{level}"]
            given += [np.stack(biases, -1)] if layer.cell == "gru" else [biases[0] + biases[1]]
        if layer.cell == "gru":
            given = [_gates_as_keras_has_them(array) for array in given]
        built.set_weights([array.T for array in given])
    return value


def _gates_as_keras_has_them(array: NDArray[Any]) -> NDArray[Any]:
    r, z, n = np.split(array, 3, axis=0)
    return np.concatenate([z, r, n])


def _name(layer: LayerWithWeights, place: str) -> str:
    return f"{layer.weights.replace('.', '_') or layer.kind}_{place}"
