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
        """Cut a sequence [steps, values] into MOST x MOST patches at most, about equally large."""
        return cls(_ends(steps), _ends(values))

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
