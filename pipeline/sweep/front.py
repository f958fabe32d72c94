"""Which of several results none beats, and how much of the space they dominate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def front(losses: ArrayLike) -> list[int]:
    """Find the Pareto front of points [n, objectives], each to be small; of equal ones the first.

    Example:
        >>> front([[1, 3], [2, 2], [3, 3], [2, 2]])
        [0, 1]
    """
    points = np.asarray(losses, float)
    kept: list[int] = []
    for index, point in enumerate(points):
        no_worse = (points <= point).all(1)
        better = no_worse & (points < point).any(1)
        twin = (points[:index] == point).all(1).any()
        if not better.any() and not twin:
            kept.append(index)
    return kept


def hypervolume(losses: ArrayLike, reference: Sequence[float]) -> float:
    """Compute the volume between a point that is worse and what the points dominate.

    Args:
        losses: [n, objectives], each to be small.
        reference: the worse point; what lies beyond it counts nothing.

    Example:
        >>> hypervolume([[1, 3], [2, 2]], [4, 4])
        5.0
    """
    limit = np.asarray(reference, float)
    points = np.asarray(losses, float).reshape(-1, len(limit))
    points = points[(points < limit).all(1)]
    return _volume(points[front(points)] if len(points) else points, limit)


def _volume(points: NDArray[np.float64], limit: NDArray[np.float64]) -> float:
    """Cut the volume into slices along the last objective."""
    if not len(points):
        return 0.0
    if len(limit) == 1:
        return float(limit[0] - points.min())
    points = points[np.argsort(points[:, -1], kind="stable")]
    ends = [*points[1:, -1], limit[-1]]
    total = 0.0
    for count, (start, end) in enumerate(zip(points[:, -1], ends, strict=True), 1):
        if end > start:
            total += (end - start) * _volume(points[:count, :-1], limit[:-1])
    return float(total)
