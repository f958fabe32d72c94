"""Networks of five kinds that people ship, with one set of random weights for every framework.

Weights have the layout of Keras. :func:`weights_of` draws them, and each framework's file puts
them into its own: :mod:`tests.convert.importers.same_in_keras`,
:mod:`tests.convert.importers.same_in_torch`, :mod:`tests.convert.importers.same_in_onnx`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
# Of each layer, its weights in Keras' order.
Weights = dict[str, list[Array]]


class _Draw:
    """Draws weights at the scale at which Keras begins."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def _of(self, *shape: int, scale: float = 1.0) -> Array:
        fan = int(np.prod(shape[:-1]))
        drawn = self.random.normal(size=shape) * scale / np.sqrt(max(fan, 1))
        return drawn.astype(np.float32)

    def bias(self, *shape: int) -> Array:
        return (self.random.normal(size=shape) * 0.1).astype(np.float32)

    def dense(self, given: int, units: int) -> list[Array]:
        return [self._of(given, units, scale=1.5), self.bias(units)]

    def lstm(self, given: int, units: int) -> list[Array]:
        return [self._of(given, 4 * units), self._of(units, 4 * units), self.bias(4 * units)]

    def gru(self, given: int, units: int) -> list[Array]:
        return [self._of(given, 3 * units), self._of(units, 3 * units), self.bias(2, 3 * units)]

    def conv(self, *shape: int, bias: bool = True) -> list[Array]:
        kernel = self._of(*shape, scale=1.4)
        return [kernel, self.bias(shape[-1])] if bias else [kernel]

    def norm(self, width: int) -> list[Array]:
        """Gain, shift, mean and variance."""
        return [1 + self.bias(width), self.bias(width), self.bias(width), 1 + self.bias(width) ** 2]


def _silero(draw: _Draw) -> Weights:
    widths = (17, 16, 12, 12, 16)
    found = {f"conv_{n}": draw.conv(3, widths[n], widths[n + 1]) for n in range(4)}
    cell, (kernel, bias) = draw.lstm(16, 16), draw.dense(16, 1)
    # A trained detector decides: its output is not the same number for every frame.
    return {**found, "cell": cell, "speech": [40 * kernel, bias]}


def _dtln(draw: _Draw) -> Weights:
    return {
        "encoder": draw.conv(1, 32, 16, bias=False),
        "norm": draw.norm(16)[:2],
        "lstm_1": draw.lstm(16, 12),
        "lstm_2": draw.lstm(12, 12),
        "mask": draw.dense(12, 16),
        "decoder": draw.conv(1, 16, 32, bias=False),
    }


def _gtcrn(draw: _Draw) -> Weights:
    return {
        "conv": draw.conv(3, 3, 2, 8),
        "norm": draw.norm(8),
        "prelu": [np.full((1, 1, 8), 0.25, np.float32)],
        "low": [*draw.gru(4, 2), *draw.gru(4, 2)],
        "high": [*draw.gru(4, 2), *draw.gru(4, 2)],
        "time_a": draw.gru(32, 24),
        "time_b": draw.gru(32, 24),
        "mask": draw.dense(48, 32),
    }


def _rnnoise(draw: _Draw) -> Weights:
    return {
        "dense": draw.dense(42, 24),
        "vad_gru": draw.gru(24, 24),
        "vad": draw.dense(24, 1),
        "noise_gru": draw.gru(24 + 24 + 42, 48),
        "denoise_gru": draw.gru(24 + 48 + 42, 96),
        "gains": draw.dense(96, 22),
    }


def _neuralpi(draw: _Draw) -> Weights:
    return {"lstm": draw.lstm(1, 20), "dense": draw.dense(20, 1)}


KINDS: dict[str, Callable[[_Draw], Weights]] = {
    "Silero": _silero,
    "DTLN": _dtln,
    "GTCRN": _gtcrn,
    "RNNoise": _rnnoise,
    "NeuralPi": _neuralpi,
}
# The shape of one frame.
FRAMES: dict[str, tuple[int, ...]] = {
    "Silero": (8, 17),
    "DTLN": (32,),
    "GTCRN": (16, 2),
    "RNNoise": (42,),
    "NeuralPi": (1,),
}
# The rms error of int8 on data kept from calibration, as a share of the output's spread, that is
# allowed; test_same_weights.py measures it. The states of the one after Silero move little within
# the bounds that an LSTM's equations give.
INT8_RMS = {"Silero": 0.04, "DTLN": 0.02, "GTCRN": 0.02, "RNNoise": 0.02, "NeuralPi": 0.02}


def weights_of(kind: str) -> Weights:
    """Draw the weights of a kind; the same ones at each call."""
    return KINDS[kind](_Draw(list(KINDS).index(kind)))


@functools.cache
def _vowels() -> list[Array]:
    from models.tasks import load_task

    return list(load_task("japanese-vowels").train.sequences[:40])


def sequences_of(kind: str) -> list[dict[str, Any]]:
    """Return real sequences, those of the task japanese-vowels, in the shape of a kind's frames."""
    shape = FRAMES[kind]
    size = int(np.prod(shape))
    found = []
    for start in range(0, 40, 4):
        frames = np.concatenate(_vowels()[start : start + 4])
        wide = np.tile(frames, -(-size // frames.shape[1]))[:, :size]
        found.append({"x": wide.reshape(-1, *shape).astype(np.float32)})
    return found
