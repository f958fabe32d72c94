"""Compute what PyTorch computes, in NumPy, from the equations in its documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.importers.pytorch.description import (
    ActivationLayer,
    EmbeddingLayer,
    LinearLayer,
    RecurrentLayer,
)
from convert.importers.pytorch.files import Arrays
from convert.importers.pytorch.network import PyTorchNetwork, depth_of


def run(network: PyTorchNetwork, x: NDArray[Any]) -> NDArray[Any]:
    """Run a network over a batch of whole sequences.

    It takes token ids [batch, steps] or frames [batch, steps, inputs], and gives outputs [batch,
    steps, outputs]. If a layer gives only its last output, that is the output after each step so
    far.

    It is independent of :mod:`convert.importers.pytorch.rebuilt`, which it checks.
    """
    value = x
    for layer, weights in network.layers:
        if isinstance(layer, EmbeddingLayer):
            value = weights["weight"][value]
        elif isinstance(layer, LinearLayer):
            value = value @ weights["weight"].T + weights.get("bias", np.float32(0))
        elif isinstance(layer, ActivationLayer):
            value = _ACTIVATIONS[layer.function](value)
        else:
            for depth in range(depth_of(weights)):
                value = _run_recurrence(layer, weights, depth, value)
    return value


def _run_recurrence(
    layer: RecurrentLayer, weights: Arrays, depth: int, x: NDArray[Any]
) -> NDArray[Any]:
    """Run one layer of a recurrence: [batch, steps, inputs] -> [batch, steps, H]."""
    w, u = weights[f"weight_ih_l{depth}"], weights[f"weight_hh_l{depth}"]
    b = weights.get(f"bias_ih_l{depth}", np.zeros(len(w), np.float32))
    d = weights.get(f"bias_hh_l{depth}", np.zeros(len(w), np.float32))
    h = np.zeros((len(x), u.shape[1]), np.float32)
    c = np.zeros_like(h)
    outputs = []
    for t in range(x.shape[1]):
        from_x, from_h = x[:, t] @ w.T + b, h @ u.T + d
        if layer.kind == "rnn":
            h = _ACTIVATIONS[layer.nonlinearity](from_x + from_h)
        elif layer.kind == "lstm":
            i, f, g, o = np.split(from_x + from_h, 4, axis=-1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        else:
            (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, -1), np.split(from_h, 3, -1)
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            n = np.tanh(xn + r * hn)
            h = (1 - z) * n + z * h
        outputs.append(h)
    return np.stack(outputs, 1)


def _sigmoid(value: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))


def _softmax(value: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(value - value.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


_ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "relu": lambda value: np.maximum(value, 0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
}
