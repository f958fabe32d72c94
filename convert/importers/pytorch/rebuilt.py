"""Rebuild a PyTorch network of Keras layers, so that it can be stepped."""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from convert.importers.pytorch.description import (
    ActivationLayer,
    EmbeddingLayer,
    LayerWithWeights,
    LinearLayer,
    RecurrentLayer,
)
from convert.importers.pytorch.files import Arrays
from convert.importers.pytorch.network import PyTorchNetwork, depth_of


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
    value: Any = inputs
    for number, (layer, weights) in enumerate(network.layers):
        if isinstance(layer, RecurrentLayer):
            value = _keras_recurrence(value, layer, weights, number)
            continue
        built: keras.layers.Layer
        if isinstance(layer, ActivationLayer):
            built = keras.layers.Activation(layer.function, name=f"{layer.function}_{number}")
        elif isinstance(layer, EmbeddingLayer):
            built = keras.layers.Embedding(*weights["weight"].shape, name=_name(layer, number))
        else:
            outputs = len(weights["weight"])
            built = keras.layers.Dense(
                outputs, use_bias="bias" in weights, name=_name(layer, number)
            )
        value = built(value)
        if isinstance(layer, EmbeddingLayer):
            built.set_weights([weights["weight"]])
        elif isinstance(layer, LinearLayer):
            built.set_weights(
                [weights["weight"].T, *([weights["bias"]] if "bias" in weights else [])]
            )
    return keras.Model(inputs, value, name="pytorch_network")


def _keras_recurrence(value: Any, layer: RecurrentLayer, weights: Arrays, number: int) -> Any:
    depth = depth_of(weights)
    for level in range(depth):
        w, u = weights[f"weight_ih_l{level}"], weights[f"weight_hh_l{level}"]
        options: dict[str, Any] = {
            "use_bias": f"bias_ih_l{level}" in weights,
            # If only the last output counts, the lower layers still give all of theirs.
            "return_sequences": layer.output == "sequence" or level < depth - 1,
            "name": f"{_name(layer, number)}_{level}",
        }
        units = u.shape[1]
        if layer.kind == "rnn":
            built = keras.layers.SimpleRNN(units, activation=layer.nonlinearity, **options)
        elif layer.kind == "lstm":
            built = keras.layers.LSTM(units, **options)
        else:
            built = keras.layers.GRU(units, reset_after=True, **options)
        value = built(value)
        given = [w, u]
        if options["use_bias"]:
            biases = weights[f"bias_ih_l{level}"], weights[f"bias_hh_l{level}"]
            given += [np.stack(biases, -1)] if layer.kind == "gru" else [biases[0] + biases[1]]
        if layer.kind == "gru":
            given = [_gates_as_keras_has_them(array) for array in given]
        built.set_weights([array.T for array in given])
    return value


def _gates_as_keras_has_them(array: NDArray[Any]) -> NDArray[Any]:
    r, z, n = np.split(array, 3, axis=0)
    return np.concatenate([z, r, n])


def _name(layer: LayerWithWeights, number: int) -> str:
    return f"{layer.weights.replace('.', '_') or layer.kind}_{number}"
