"""Compute what PyTorch computes, in NumPy, from the equations in its documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.importers.pytorch.description import (
    ActivationLayer,
    ConvolutionLayer,
    EmbeddingLayer,
    LinearLayer,
    NormLayer,
    PReluLayer,
    RecurrentLayer,
    ResidualLayer,
    ScaleLayer,
)
from convert.importers.pytorch.files import Arrays
from convert.importers.pytorch.network import Part, PyTorchNetwork, depth_of


def run(network: PyTorchNetwork, x: NDArray[Any]) -> NDArray[Any]:
    """Run a network over a batch of whole sequences.

    It takes token ids [batch, steps] or frames [batch, steps, inputs], and gives outputs [batch,
    steps, outputs]. If a layer gives only its last output, that is the output after each step so
    far.

    It is independent of :mod:`convert.importers.pytorch.rebuilt`, which it checks.
    """
    return _through(x, network.layers)


def _through(value: NDArray[Any], parts: Sequence[Part]) -> NDArray[Any]:
    for layer, weights, inner in parts:
        if isinstance(layer, EmbeddingLayer):
            value = weights["weight"][value]
        elif isinstance(layer, LinearLayer):
            value = value @ weights["weight"].T + weights.get("bias", np.float32(0))
        elif isinstance(layer, ActivationLayer):
            value = _ACTIVATIONS[layer.function](value, np.float32(layer.slope))
        elif isinstance(layer, PReluLayer):
            value = np.where(value > 0, value, value * weights["weight"])
        elif isinstance(layer, ScaleLayer):
            value = _scaled(layer, value)
        elif isinstance(layer, NormLayer):
            value = _normalized(layer, weights, value)
        elif isinstance(layer, ConvolutionLayer):
            value = _convolved(layer, weights, value)
        elif isinstance(layer, ResidualLayer):
            value = value[..., : layer.channels] + _through(value, inner)
        else:
            for depth in range(depth_of(weights)):
                value = _run_recurrence(layer, weights, depth, value)
    return value


def _scaled(layer: ScaleLayer, value: NDArray[Any]) -> NDArray[Any]:
    mean, std, scale, offset = (
        np.asarray(default if given is None else given, np.float32)
        for given, default in ((layer.mean, 0), (layer.std, 1), (layer.scale, 1), (layer.offset, 0))
    )
    return np.asarray((value - mean) / std * scale + offset)


def _normalized(layer: NormLayer, weights: Arrays, value: NDArray[Any]) -> NDArray[Any]:
    if layer.kind == "batch_norm":
        mean, variance = weights["running_mean"], weights["running_var"]
    else:
        mean, variance = value.mean(-1, keepdims=True), value.var(-1, keepdims=True)
    normal = (value - mean) / np.sqrt(variance + np.float32(layer.eps))
    return np.asarray(normal * weights.get("weight", 1) + weights.get("bias", 0))


def _convolved(layer: ConvolutionLayer, weights: Arrays, x: NDArray[Any]) -> NDArray[Any]:
    """Convolve [batch, steps, inputs] with zeros in front."""
    kernel = weights["weight"]
    filters, width, size = kernel.shape
    past = (size - 1) * layer.dilation
    padded = np.concatenate([np.zeros((len(x), past, x.shape[2]), np.float32), x], 1)
    parts = []
    for group in range(layer.groups):
        own = slice(group * filters // layer.groups, (group + 1) * filters // layer.groups)
        given = padded[..., group * width : (group + 1) * width]
        parts.append(sum(
            given[:, tap * layer.dilation : tap * layer.dilation + x.shape[1]]
            @ kernel[own, :, tap].T
            for tap in range(size)
        ))  # fmt: skip
    return np.asarray(np.concatenate(parts, -1) + weights.get("bias", 0), np.float32)


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
        if layer.cell == "rnn":
            h = _ACTIVATIONS[layer.nonlinearity](from_x + from_h, np.float32(0))
        elif layer.cell == "lstm":
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


def _softplus(value: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.logaddexp(value, np.float32(0)))


def _elu(value: NDArray[Any], alpha: Any) -> NDArray[Any]:
    return np.where(value > 0, value, alpha * np.expm1(np.minimum(value, 0)))


def _gelu(value: NDArray[Any]) -> NDArray[Any]:
    normal = 1 + np.vectorize(math.erf, [np.float64])(value / math.sqrt(2))
    return np.asarray(0.5 * value * normal, np.float32)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
# From the value, and the slope or alpha.
_ACTIVATIONS: dict[str, Callable[[NDArray[Any], Any], NDArray[Any]]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "softmax": lambda x, _: _softmax(x),
    "log_softmax": lambda x, _: np.log(_softmax(x)),
    "elu": _elu,
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "gelu": lambda x, _: _gelu(x),
    "silu": lambda x, _: x * _sigmoid(x),
    "selu": lambda x, _: SELU_SCALE * _elu(x, SELU_ALPHA),
    "relu6": lambda x, _: np.clip(x, 0, 6),
    "hardsigmoid": lambda x, _: np.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x, _: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardtanh": lambda x, _: np.clip(x, -1, 1),
    "softplus": lambda x, _: _softplus(x),
    "softsign": lambda x, _: x / (1 + np.abs(x)),
    "mish": lambda x, _: x * np.tanh(_softplus(x)),
}
