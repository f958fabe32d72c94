"""Count integers in a histogram with a bounded relative error, to keep many latencies.

The buckets are those of HdrHistogram (G. Tene, hdrhistogram.org). Values below 2**11 each have
their own. Above, every factor of two is cut into 1024 equal buckets, so a bucket is never wider
than 0.1 % of its values. Ours is sparse and fed in batches, which suits NumPy; the device has
NumPy, but no package for this.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# How many bits of a value are kept: three significant decimal digits.
PRECISION_BITS = 11
# For pictures: 8 bins per factor of two.
PICTURE_BITS = 4


class Histogram:
    """Counts of non-negative integers below 2**53, with exact count, extremes and moments."""

    def __init__(self) -> None:
        self.count = 0
        self.minimum = 0
        self.maximum = 0
        self._sum = 0
        self._sum_of_squares = 0
        self._buckets: Counter[int] = Counter()

    def record(self, values: Sequence[int] | NDArray[np.int64]) -> None:
        """Add a batch of values."""
        batch = np.asarray(values, np.int64)
        if not len(batch):
            return
        if batch.min() < 0 or batch.max() >= 1 << 53:
            raise ValueError("a histogram takes integers from 0 to 2**53 - 1")
        lowest, highest = int(batch.min()), int(batch.max())
        self.minimum = min(self.minimum, lowest) if self.count else lowest
        self.maximum = max(self.maximum, highest)
        self.count += len(batch)
        # Python's integers: the squares of nanoseconds overflow 64 bits after some hours.
        self._sum += int(batch.sum())
        self._sum_of_squares += sum(value * value for value in batch.tolist())
        lows, counts = np.unique(_bucket_lows(batch, PRECISION_BITS), return_counts=True)
        self._buckets.update(dict(zip(lows.tolist(), counts.tolist(), strict=True)))

    @property
    def mean(self) -> float:
        return self._sum / self.count

    @property
    def standard_deviation(self) -> float:
        """Return the standard deviation of the values, as :func:`numpy.std`."""
        spread = self.count * self._sum_of_squares - self._sum**2
        return math.sqrt(Fraction(spread, self.count**2))

    def percentile(self, percent: float) -> int:
        """Return the nearest-rank percentile: at least ``percent`` of the values are not above it.

        It is its bucket's largest value: at most 0.1 % too large, never too small.
        """
        # Decimal fractions, as 0.999 * 10,000 is above 9,990 in floats.
        rank = math.ceil(Fraction(str(percent)) * self.count / 100)
        seen = 0
        for low in sorted(self._buckets):
            seen += self._buckets[low]
            if seen >= rank:
                width = 1 << max(0, low.bit_length() - PRECISION_BITS)
                return min(low + width - 1, self.maximum)
        raise ValueError("an empty histogram has no percentiles")

    def bins(self) -> list[tuple[int, int]]:
        """List [lower edge, count] of the non-empty bins, 8 per factor of two, in order."""
        merged: Counter[int] = Counter()
        lows = _bucket_lows(np.array(list(self._buckets), np.int64), PICTURE_BITS)
        for low, count in zip(lows.tolist(), self._buckets.values(), strict=True):
            merged[low] += count
        return sorted(merged.items())


def _bucket_lows(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return the smallest value in each value's bucket: its leading ``bits`` bits."""
    lengths = np.frexp(values.astype(np.float64))[1]
    shifts = np.maximum(lengths - bits, 0)
    lows: NDArray[np.int64] = values >> shifts << shifts
    return lows
