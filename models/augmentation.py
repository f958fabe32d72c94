"""Augmentation of training data: each epoch sees every sequence a little faster or slower, louder
or fainter, or turned, as if the sensor were worn another way.

A network teaches another one (:mod:`models.compress.distillation`) on the very sequences that come
out of this. What is drawn depends on the seed and the epoch alone, so a resumed training sees what
an uninterrupted one does.

Source: T. Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring
using convolutional neural networks" (ICMI 2017), which finds rotation to help most there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelsError
from models.setting import check_settings, setting

# A sequence is made this much faster or slower at most, however large the deviation.
LARGEST_STRETCH = 1.6


@dataclass(frozen=True)
class Augmentation:
    """How much sequences are varied.

    Args:
        stretch: standard deviation of the logarithm of the factor by which a sequence gets
            longer; one that grows beyond the longest of the data is cut off there.
        gain: standard deviation of the logarithm of a factor per channel and sequence. It acts on
            the raw values, so it suits channels whose zero means something.
        rotation: standard deviation of the angle in degrees by which the sensor is turned about
            an axis drawn anew for each sequence; all ``vectors`` turn together.
        vectors: for each sensor with three axes the channels of x, y and z.

    Raises:
        ModelsError: a value is outside its range, or there is nothing to rotate.

    Example:
        >>> import numpy as np
        >>> louder = Augmentation(gain=0.1)
        >>> x, lengths = np.ones((2, 5, 3), np.float32), np.array([5, 4])
        >>> varied, lengths = louder.apply(x, lengths, np.random.default_rng(1))
        >>> varied.shape, bool((varied == x).any()), lengths.tolist()
        ((2, 5, 3), False, [5, 4])
    """

    stretch: float = setting(0.0, ge=0)
    gain: float = setting(0.0, ge=0)
    rotation: float = setting(0.0, ge=0)
    vectors: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        if self.rotation and not self.vectors:
            raise ModelsError("rotation needs 'vectors': the channels of x, y and z of each sensor")
        for vector in self.vectors:
            if len(set(vector)) != 3 or min(vector) < 0:
                raise ModelsError(f"a vector has three different channels, found {list(vector)}")

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.stretch or self.gain or self.rotation)

    def apply(
        self, x: NDArray[Any], lengths: NDArray[Any], generator: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Make varied copies of sequences.

        Args:
            x: [n, longest, channels] float32; what comes after a sequence's end does not matter.
            lengths: of the sequences, int64 [n].

            generator: what is varied by is drawn from.

        Returns:
            The copies, float32 of the shape of ``x``, and their lengths, int64 [n].

        Raises:
            ModelsError: ``vectors`` names a channel that is not there.
        """
        if self.vectors and max(map(max, self.vectors)) >= x.shape[-1]:
            raise ModelsError(
                f"the augmentation's vectors {[list(vector) for vector in self.vectors]} name a "
                f"channel beyond the {x.shape[-1]} of the task; they are counted from 0"
            )
        x = x.astype(np.float32)
        if self.stretch:
            x, lengths = self._stretched(x, lengths, generator)
        if self.rotation:
            turns = _rotations(len(x), math.radians(self.rotation), generator)
            for vector in self.vectors:
                channels = list(vector)
                x[..., channels] = np.einsum("nij,ntj->nti", turns, x[..., channels])
        if self.gain:
            factors = np.exp(self.gain * generator.standard_normal((len(x), 1, x.shape[-1])))
            x *= factors.astype(np.float32)
        return x, lengths

    def _stretched(
        self, x: NDArray[Any], lengths: NDArray[Any], generator: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Linear interpolation between frames; the last frame stays the last where all fits."""
        n, longest, _ = x.shape
        factors = np.exp(self.stretch * generator.standard_normal(n))
        factors = np.clip(factors, 1 / LARGEST_STRETCH, LARGEST_STRETCH)
        whole = np.maximum(np.rint(lengths * factors), 1).astype(np.int64)
        # From step 0 ... whole - 1 of the copy to step 0 ... length - 1 of the original.
        rate = (lengths - 1) / np.maximum(whole - 1, 1)
        position = np.minimum(np.arange(longest) * rate[:, np.newaxis], lengths[:, np.newaxis] - 1)
        before = position.astype(np.int64)
        after = np.minimum(before + 1, lengths[:, np.newaxis] - 1)
        share = (position - before)[..., np.newaxis].astype(np.float32)
        rows = np.arange(n)[:, np.newaxis]
        return x[rows, before] * (1 - share) + x[rows, after] * share, np.minimum(whole, longest)


def _rotations(n: int, deviation: float, generator: np.random.Generator) -> NDArray[Any]:
    """Rotation matrices [n, 3, 3] about random axes (Rodrigues' formula); angles are normal with
    this deviation in radians."""
    axes = generator.standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = deviation * generator.standard_normal((n, 1, 1))
    across = np.zeros((n, 3, 3))
    for row, column, axis, sign in (
        (0, 1, 2, -1),
        (0, 2, 1, 1),
        (1, 0, 2, 1),
        (1, 2, 0, -1),
        (2, 0, 1, -1),
        (2, 1, 0, 1),
    ):
        across[:, row, column] = sign * axes[:, axis]
    turns = np.eye(3) + np.sin(angles) * across + (1 - np.cos(angles)) * (across @ across)
    return np.asarray(turns, np.float32)
