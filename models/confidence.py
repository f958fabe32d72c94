"""How sure a difference of two models' scores is: a paired bootstrap over sequences and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.item_scores import ItemScores
from models.metrics import MetricDescription

#: The share of draws within an interval.
LEVEL = 0.95
DRAWS = 4000
SEED = 11
# Draws whose weights are in memory at once.
_CHUNK = 500

NO_DIFFERENCE = "no difference"


@dataclass(frozen=True)
class Difference:
    """A difference of two models' scores, the first minus the second.

    Attributes:
        value: the mean over the seeds, in the metric's own numbers.
        low, high: the interval that holds LEVEL of the draws.
        seeds, sequences: over what it was drawn.
    """

    value: float
    low: float
    high: float
    seeds: int
    sequences: int

    @property
    def holds_zero(self) -> bool:
        """Whether the interval holds zero, so that the data shows no difference."""
        return self.low <= 0 <= self.high

    def text(self, metric: MetricDescription) -> str:
        """Write it with its interval, in the metric's unit.

        Example:
            >>> from models.metrics import ACCURACY
            >>> Difference(0.003, -0.01, 0.02, 3, 370).text(ACCURACY)
            '+0.3 (-1.0 to +2.0), no difference'
        """
        return self.interval(metric) + (f", {NO_DIFFERENCE}" if self.holds_zero else "")

    def interval(self, metric: MetricDescription) -> str:
        """Write it with its interval and nothing else."""
        numbers = (metric.shown(one) for one in (self.value, self.low, self.high))
        form = "+.1f" if metric.is_share else "+.2g"
        value, low, high = (f"{number + 0.0:{form}}" for number in numbers)
        return f"{value} ({low} to {high})"


def paired_difference(
    ours: Sequence[ItemScores], theirs: Sequence[ItemScores], draws: int = DRAWS
) -> Difference:
    """Compare two models over the same sequences and seeds.

    Each draw takes as many sequences, and as many seeds, as there are, with replacement, and the
    same ones for both models. So the interval says what other test sequences of the same people or
    machines, and other random weights, might have given. It says nothing about other people.

    Args:
        ours, theirs: one for each seed, in the same order, over the same sequences.
        draws: how often is drawn.

    Raises:
        ValueError: there is nothing, or the two are not of the same sequences and seeds.

    Example:
        >>> always, never = ItemScores(np.ones(40), np.ones(40)), ItemScores(np.zeros(40), np.ones(40))
        >>> found = paired_difference([always], [never])
        >>> found.value, found.low, found.holds_zero
        (1.0, 1.0, False)
    """  # noqa: E501
    sizes = {len(one) for one in (*ours, *theirs)}
    if not ours or len(ours) != len(theirs) or len(sizes) != 1 or sizes == {0}:
        raise ValueError("the two models were not judged with the same seeds on the same sequences")
    seeds, sequences = len(ours), sizes.pop()
    value = np.mean([a.score - b.score for a, b in zip(ours, theirs, strict=True)])
    low, high = _interval(
        lambda weights: _drawn(ours, weights) - _drawn(theirs, weights), sequences, seeds, draws
    )
    return Difference(float(value), low, high, seeds, sequences)


def score_interval(models: Sequence[ItemScores], draws: int = DRAWS) -> tuple[float, float]:
    """Find the interval of a score over sequences and seeds, drawn as in :func:`paired_difference`.

    Args:
        models: one for each seed, over the same sequences; at least one.

    Returns:
        Its ends, in the metric's own numbers.

    Example:
        >>> low, high = score_interval([ItemScores(np.arange(100) % 2, np.ones(100))])
        >>> low < 0.5 < high
        True
    """
    return _interval(lambda weights: _drawn(models, weights), len(models[0]), len(models), draws)


def _interval(
    values: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    sequences: int,
    seeds: int,
    draws: int,
) -> tuple[float, float]:
    """Draw sequences and seeds; ``values`` gives [draws, seeds] of weights [draws, sequences]."""
    generator = np.random.default_rng(SEED)
    found: list[NDArray[np.float64]] = []
    for start in range(0, draws, _CHUNK):
        count = min(_CHUNK, draws - start)
        weights = generator.multinomial(sequences, np.full(sequences, 1 / sequences), count)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
        found.append((of_seeds * values(weights)).sum(1))
    tail = 100 * (1 - LEVEL) / 2
    drawn = np.concatenate(found)
    low, high = np.percentile(drawn[np.isfinite(drawn)], (tail, 100 - tail))
    return float(low), float(high)


def _drawn(models: Sequence[ItemScores], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score each seed's model on each draw of sequences, [draws, seeds]."""
    gained = weights @ np.stack([one.gained for one in models], 1)
    wanted = weights @ np.stack([one.wanted for one in models], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(gained / wanted)
