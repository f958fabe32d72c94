"""The grid of patches into which a sequence is cut: some steps of some values each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Patches along time, and along a frame's values, at most.
MOST = 24


@dataclass(frozen=True)
class Patches:
    """Where the patches of a sequence begin and end.

    Attributes:
        steps: ends of the patches along time, [patches + 1] from 0 to the number of steps.
        values: the same along a frame's values.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.int64]

    @classmethod
    def of(cls, steps: int, values: int) -> Patches:
        """Cut a sequence [steps, values] into MOST x MOST patches at most.

        Along a frame's values they are about equally large. Along time they are short at the end
        and grow towards the beginning: what is decided at the end goes by its last steps, often.

        Example:
            >>> Patches.of(100, 2).steps[-6:].tolist()
            [94, 95, 97, 98, 99, 100]
        """
        return cls(_growing_ends(steps), _ends(values))

    @property
    def shape(self) -> tuple[int, int]:
        """Patches along time and along values."""
        return len(self.steps) - 1, len(self.values) - 1

    def sums(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum [steps, values] over each patch."""
        rows = np.add.reduceat(x, self.steps[:-1], 0)
        sums: NDArray[np.float64] = np.add.reduceat(rows, self.values[:-1], 1)
        return sums


def _ends(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count, min(count, MOST) + 1).round().astype(np.int64))


def _growing_ends(count: int) -> NDArray[np.int64]:
    """Cut from the end: the first patch has one step, each further one a share more."""
    if count <= MOST:
        return np.arange(count + 1)
    # Each patch is as many times as long as the one after it.
    low, high = 1.0, float(count)
    for _ in range(60):
        ratio = (low + high) / 2
        low, high = (low, ratio) if _length(ratio) > count else (ratio, high)
    numbers = np.arange(MOST + 1)
    from_the_end = np.round((ratio**numbers - 1) / (ratio - 1)).astype(np.int64)
    from_the_end[-1] = count
    ends: NDArray[np.int64] = np.unique(count - from_the_end)
    return ends


def _length(ratio: float) -> float:
    return float(np.sum(ratio ** np.arange(MOST, dtype=np.float64)))
