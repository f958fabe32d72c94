"""Choose the trial that is expected to gain most, where costs are known and the accuracy is not.

Bytes and latency hardly depend on weights, so they are measured of untrained networks
(:mod:`pipeline.sweep.survey`). The accuracy is a Gaussian process over the choices, and the next
trial is the one whose expected gain of hypervolume is the largest (M. Emmerich et al.,
"Single- and multiobjective evolutionary optimization assisted by Gaussian random field metamodels",
2006); with known costs that is a sum of one-dimensional integrals.

The process' lengths are not fitted, as a dozen trials tell nothing of them. They say what is known
of such networks: larger ones tend to be more accurate, a scheme changes the accuracy little, and
anything else may change it much.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm

from pipeline.sweep.front import front, hypervolume
from pipeline.sweep.space import Dimension, Point

# Lengths in shares of a dimension's range, and of a change of category.
NUMBER_LENGTH, CATEGORY_LENGTH, SCHEME_LENGTH, CAPACITY_LENGTH = 1.0, 1.0, 10.0, 2.0
# Deviations, in units of that of the known accuracies: of the mean, of a straight line over the
# capacity, of what a repeated training would differ by.
MEAN, SLOPE, NOISE = 2.0, 1.0, 0.05
# Where on the range of capacities the first trials are, which nothing is known of yet.
FIRST = (1.0, 0.0, 0.5, 0.75, 0.25)
# How far beyond the worst of what is known the worst point of the hypervolume is.
BEYOND = 0.1
# What decides among first trials of about one capacity.
SMALL = 0.02


@dataclass(frozen=True)
class Candidate:
    """A point that may be tried.

    Attributes:
        costs: known objectives, each to be small, such as bytes and nanoseconds.
        parameters: of the network.
    """

    point: Point
    costs: tuple[float, ...]
    parameters: int


class ExpectedGain:
    """Chooses among candidates.

    Args:
        dimensions: that are searched, by their names.
    """

    def __init__(
        self, dimensions: Mapping[str, Dimension], candidates: Sequence[Candidate]
    ) -> None:
        points = [one.point for one in candidates]
        columns = [_column(one, points) for one in dimensions.values()]
        self.columns = [(values, length) for values, length in columns if np.ptp(values) > 0]
        self.capacity = _scaled(np.log([one.parameters + 1 for one in candidates]))
        logs = np.log([[cost + 1 for cost in one.costs] for one in candidates])
        self.costs = np.stack([_scaled(column) for column in logs.T], 1)
        # Candidates that differ in their training alone cost the same.
        self.prices, self.price_of = np.unique(self.costs, axis=0, return_inverse=True)
        self.price_of = self.price_of.ravel()
        self.count = len(candidates)

    def choose(
        self, known: Mapping[int, float], pending: Sequence[int], chance: random.Random
    ) -> int | None:
        """Return the index of the candidate to try next; None if all have been.

        Args:
            known: how accurate candidates are, by index; more is better.
            pending: those that are tried now.
            chance: draws among equal ones.
        """
        left = [one for one in range(self.count) if one not in known and one not in set(pending)]
        if not left:
            return None
        begun = len(known) + len(pending)
        if len(known) < 2 and begun < len(FIRST):
            begin = next(iter([*known, *pending]), None)
            worth = -np.abs(self.capacity - FIRST[begun])
            worth -= SMALL * (self.costs.mean(1) + self._unlike(begin))
        elif not known:
            return chance.choice(left)
        else:
            worth = self._gains(known, pending)
        best = max(worth[one] for one in left)
        return chance.choice([one for one in left if worth[one] >= best - 1e-9 * abs(best)])

    def _unlike(self, place: int | None) -> NDArray[np.float64]:
        """In how many of the choices candidates differ from one, as a share.

        The first trials are to differ in size and in little else, or nobody knows what it was that
        changed the accuracy."""
        if place is None:
            return np.zeros(self.count)
        different = [values != values[place] for values, _ in self.columns]
        return np.asarray(np.mean(different, axis=0), np.float64)

    def _gains(self, known: Mapping[int, float], pending: Sequence[int]) -> NDArray[np.float64]:
        """Expected gain of hypervolume of each candidate; pending ones count as expected."""
        mean, deviation = self.accuracies(known)
        seen = [(self.costs[one], value) for one, value in known.items()]
        seen += [(self.costs[one], float(mean[one])) for one in pending]
        levels = sorted({value for _, value in seen})
        worst = levels[0] - BEYOND * max(levels[-1] - levels[0], 1e-9)
        gains = np.zeros(self.count)
        for low, high in zip([worst, *levels], [*levels, np.inf], strict=True):
            # To be this accurate gains what none that is as accurate dominates.
            better = [costs for costs, value in seen if value >= high]
            better = [better[one] for one in front(better)]
            volumes = np.array([_free_volume(own, better) for own in self.prices])
            gains += volumes[self.price_of] * _expected_share(mean, deviation, low, high)
        return gains

    def accuracies(
        self, known: Mapping[int, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of each candidate's accuracy, from those that are known."""
        places, values = list(known), np.array(list(known.values()))
        center = values.mean()
        unit = max(values.std(), 0.1 * abs(center), 1e-9)
        among = self._covariance(places)[places]
        factor = cho_factor(among + NOISE**2 * np.eye(len(places)))
        across = self._covariance(places)
        mean = across @ cho_solve(factor, (values - center) / unit)
        explained = np.einsum("ij,ji->i", across, cho_solve(factor, across.T))
        prior = 1 + MEAN**2 + (SLOPE * (2 * self.capacity - 1)) ** 2
        deviation = np.sqrt(np.maximum(prior - explained, 1e-12))
        return mean * unit + center, deviation * unit

    def _covariance(self, places: Sequence[int]) -> NDArray[np.float64]:
        """Of all candidates with some, [candidates, places]."""
        product = _matern(self.capacity, self.capacity[places], CAPACITY_LENGTH)
        for values, length in self.columns:
            if values.dtype.kind == "f":
                product = product * _matern(values, values[places], length)
            else:
                differs = values[:, None] != values[places]
                product = product * np.exp(-differs.astype(float) / length)
        centered = 2 * self.capacity - 1
        line = SLOPE**2 * np.outer(centered, centered[places])
        return np.asarray(product + line + MEAN**2, np.float64)


def _column(dimension: Dimension, points: Sequence[Point]) -> tuple[NDArray[Any], float]:
    """The choices of a dimension: floats from 0 to 1 of numbers, else numbers of categories; and
    the length that belongs to them."""
    found = [point[dimension.name] for point in points]
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in found):
        if isinstance(dimension.choices, list):
            ranks = sorted(set(found))
            return _scaled([ranks.index(one) for one in found]), NUMBER_LENGTH
        numbers = np.log(found) if dimension.choices.log else found
        return _scaled(numbers), NUMBER_LENGTH
    texts = [json.dumps(one, sort_keys=True) for one in found]
    numbers = np.unique(texts, return_inverse=True)[1]
    length = SCHEME_LENGTH if dimension.name == "scheme" else CATEGORY_LENGTH
    return np.asarray(numbers, np.int64), length


def _scaled(values: Any) -> NDArray[np.float64]:
    """Move values into 0 to 1."""
    found = np.asarray(values, float)
    span = np.ptp(found)
    return np.asarray((found - found.min()) / (span if span > 0 else 1.0), np.float64)


def _matern(
    one: NDArray[np.float64], other: NDArray[np.float64], length: float
) -> NDArray[np.float64]:
    """The Matern covariance 5/2, [one, other]."""
    away = np.sqrt(5) * np.abs(one[:, None] - other) / length
    return np.asarray((1 + away + away**2 / 3) * np.exp(-away), np.float64)


def _free_volume(own: NDArray[np.float64], better: Sequence[NDArray[np.float64]]) -> float:
    """The volume of costs from ``own`` on that none of ``better`` dominates."""
    limit = np.full(len(own), 1 + BEYOND)
    box = float(np.prod(limit - own))
    if not better or not len(own):
        return 0.0 if better else box
    return max(0.0, box - hypervolume(np.maximum(better, own), limit.tolist()))


def _expected_share(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], low: float, high: float
) -> NDArray[np.float64]:
    """How much of the interval from ``low`` to ``high`` a normal value is expected to reach."""

    def beyond(level: float) -> NDArray[np.float64]:
        away = (level - mean) / deviation
        return np.asarray(deviation * (norm.pdf(away) - away * norm.sf(away)), np.float64)

    return beyond(low) - (beyond(high) if np.isfinite(high) else 0.0)
