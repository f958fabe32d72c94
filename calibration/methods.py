"""Choose a quantizer's range from the values that a tensor took.

Clipping a few outliers makes all other values finer. The methods weigh this differently:

- ``min-max``: nothing is clipped;
- ``percentile``: what lies outside of the middle 99.98 % is clipped;
- ``mse``: the range with the least mean squared error of clipping and rounding together
  (Banner et al., "Post-training 4-bit quantization of convolution networks", 2019, on the
  histogram instead of a fitted density);
- ``entropy``: the range whose quantized histogram is nearest to the original in Kullback-Leibler
  divergence (S. Migacz, "8-bit inference with TensorRT", 2017).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.ranges import TensorRange

MIN_MAX = "min-max"
# Candidate ranges of the searching methods, as shares of the true extremes.
SHARES = np.linspace(0.1, 1.0, 37)
# Added to empty bins so that the divergence stays finite.
SMOOTHING = 1e-4


def _min_max(item: TensorRange, levels: int) -> tuple[float, float]:
    return item.minimum, item.maximum


def _percentile(item: TensorRange, levels: int) -> tuple[float, float]:
    return item.percentiles["0.01"], item.percentiles["99.99"]


def _mse(item: TensorRange, levels: int) -> tuple[float, float]:
    centers, counts = _histogram(item)

    def error(low: float, high: float) -> float:
        step = (high - low) / (levels - 1)
        outside = np.clip(centers, low, high) - centers
        rounding = np.where(outside == 0, step**2 / 12, 0.0)
        return float(np.sum(counts * (outside**2 + rounding)))

    return _best(item, error)


def _entropy(item: TensorRange, levels: int) -> tuple[float, float]:
    centers, counts = _histogram(item)

    def divergence(low: float, high: float) -> float:
        step = (high - low) / (levels - 1)
        stored = np.rint((np.clip(centers, low, high) - low) / step).astype(int)
        mass = np.bincount(stored, counts, minlength=levels)
        occupied = np.bincount(stored, counts > 0, minlength=levels)
        # A level's mass comes back spread evenly over the bins that went into it.
        spread = np.where(counts > 0, mass[stored] / np.maximum(occupied[stored], 1), 0.0)
        # Clipped values move to the border, and the divergence must see them there.
        clipped = (centers < low) | (centers > high)
        returned = np.where(clipped, 0.0, spread) + SMOOTHING
        original = counts + SMOOTHING
        p, q = original / original.sum(), returned / returned.sum()
        return float(np.sum(p * np.log(p / q)))

    return _best(item, divergence)


METHODS: dict[str, Callable[[TensorRange, int], tuple[float, float]]] = {
    MIN_MAX: _min_max,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}


def choose_range(item: TensorRange, method: str, levels: int = 256) -> tuple[float, float]:
    """Choose the real range for a quantizer of ``levels`` levels; it always contains zero.

    Args:
        item: the values that a roll-out saw.
        method: a name in METHODS.
    """
    low, high = METHODS[method](item, levels)
    return min(low, 0.0), max(high, 0.0)


def _histogram(item: TensorRange) -> tuple[NDArray[Any], NDArray[Any]]:
    counts = np.array(item.histogram, np.float64)
    edges = np.linspace(item.histogram_low, item.histogram_high, len(counts) + 1)
    return np.clip((edges[:-1] + edges[1:]) / 2, item.minimum, item.maximum), counts


def _best(item: TensorRange, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """Return the candidate with the least cost, the widest among equals.

    The ends move independently: a tensor may have outliers on one side only."""
    low, high = min(item.minimum, 0.0), max(item.maximum, 0.0)
    candidates = {
        (float(share_low * low), float(share_high * high)): None
        for share_low, share_high in itertools.product(SHARES[::-1], SHARES[::-1])
    }
    if low == high:
        return low, high
    return min(candidates, key=lambda limits: cost(*limits))
