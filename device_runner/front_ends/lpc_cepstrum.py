"""Compute linear prediction cepstra of sound, the inputs of the task japanese-vowels.

Its data set was recorded at 10 kHz, in frames of 25.6 ms every 6.4 ms, with a prediction of order
12 (M. Kudo, J. Toyama and M. Shimbo, 1999). The window and the lack of a pre-emphasis are our
reading. How a model does on other voices and microphones is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import mul
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
    windowed = frame * _window(len(frame))
    # "valid" of a frame with zeros behind it: the products at lags 0 to ``order``.
    extended = np.zeros(len(frame) + order)
    extended[: len(frame)] = windowed
    correlation = np.correlate(extended, windowed).tolist()
    correlation[0] += NOISE_FLOOR * len(frame)
    predictor = _levinson_durbin(correlation)
    # A dozen numbers: plain floats take a tenth of the time of arrays.
    found: list[float] = []
    weighted: list[float] = []
    for n in range(1, order + 1):
        earlier = sum(map(mul, weighted, predictor[n - 2 :: -1])) if n > 1 else 0.0
        found.append(predictor[n - 1] + earlier / n)
        weighted.append(n * found[-1])
    return np.array(found)


@lru_cache(maxsize=4)
def _window(length: int) -> NDArray[np.float64]:
    return np.hamming(length)


def _levinson_durbin(correlation: list[float]) -> list[float]:
    """Compute a[1..p] of the prediction x[t] = sum a[k] x[t - k], from autocorrelation [p + 1]."""
    predictor: list[float] = []
    error = correlation[0]
    for n in range(1, len(correlation)):
        backward = correlation[n - 1 : 0 : -1]
        predicted = sum(map(mul, predictor, backward))
        reflection = (correlation[n] - predicted) / error
        mirrored = zip(predictor, reversed(predictor), strict=True)
        predictor = [one - reflection * other for one, other in mirrored]
        predictor.append(reflection)
        error *= 1 - reflection * reflection
    return predictor
