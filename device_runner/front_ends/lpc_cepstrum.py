"""Compute linear prediction cepstra of sound, the inputs of the task japanese-vowels.

Its data set was recorded at 10 kHz, in frames of 25.6 ms every 6.4 ms, with a prediction of order
12 (M. Kudo, J. Toyama and M. Shimbo, 1999). The window and the lack of a pre-emphasis are our
reading. How a model does on other voices and microphones is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends import kept_channels
from device_runner.front_ends.sound import SoundFrontEnd

KIND = "lpc-cepstrum"
SAMPLE_RATE = 10_000
FRAME_SAMPLES = 256
SHIFT_SAMPLES = 64
ORDER = 12
# About the noise of 16-bit samples; it keeps the prediction of digital silence defined.
NOISE_FLOOR = 1e-9


def read(description: Mapping[str, Any]) -> SoundFrontEnd:
    """Read a contract's description."""

    def frames(blocks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.float64]]:
        return cepstra(block.astype(np.float64) / 32768 for block in blocks)

    return SoundFrontEnd(SAMPLE_RATE, frames).keeping(kept_channels(description, ORDER))


def cepstra(blocks: Iterable[NDArray[np.float64]]) -> Iterator[NDArray[np.float64]]:
    """Make frames [12] from a sound in blocks of samples, [any length] from -1 to 1."""
    waiting = np.empty(0, np.float64)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= FRAME_SAMPLES:
            yield cepstrum(waiting[:FRAME_SAMPLES])
            waiting = waiting[SHIFT_SAMPLES:]


def cepstrum(frame: NDArray[np.float64], order: int = ORDER) -> NDArray[np.float64]:
    """Compute the cepstral coefficients 1 to ``order`` of a frame's all-pole model.

    J. Makhoul, "Linear prediction: a tutorial review" (1975), autocorrelation method; the
    recursion from predictor to cepstrum is B. Atal's (1974).
    """
    windowed = frame * np.hamming(len(frame))
    correlation = np.array(
        [windowed[: len(frame) - lag] @ windowed[lag:] for lag in range(order + 1)]
    )
    correlation[0] += NOISE_FLOOR * len(frame)
    predictor = _levinson_durbin(correlation)
    found = np.zeros(order)
    for n in range(1, order + 1):
        earlier = np.arange(1, n)
        found[n - 1] = predictor[n - 1] + (
            earlier / n @ (found[earlier - 1] * predictor[n - earlier - 1])
        )
    return found


def _levinson_durbin(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute a[1..p] of the prediction x[t] = sum a[k] x[t - k], from autocorrelation [p + 1]."""
    predictor = np.zeros(0)
    error = correlation[0]
    for n in range(1, len(correlation)):
        reflection = (correlation[n] - predictor @ correlation[n - 1 : 0 : -1]) / error
        predictor = np.append(predictor - reflection * predictor[::-1], reflection)
        error *= 1 - reflection**2
    return predictor
