"""Interpolated Kneser-Ney n-gram models of token ids: what a recurrent language model must beat.

R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling" (1995), in the
interpolated form with one discount (S. Chen and J. Goodman 1999, section 2.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISCOUNT = 0.75


class NgramModel:
    """Probabilities of the next token given the ``order - 1`` tokens before it.

    Args:
        texts: training texts, token ids [tokens] each.
        order: 1 for unigrams, 3 for trigrams.
        vocabulary: number of different ids.
    """

    def __init__(self, texts: Sequence[NDArray[Any]], order: int, vocabulary: int) -> None:
        self.order = order
        self.vocabulary = vocabulary
        grams = [_grams(text, order, vocabulary) for text in texts]
        self._levels: list[_Level] = []
        # The highest order counts occurrences, each lower one the different tokens seen before.
        keys, counts = np.unique(np.concatenate(grams), return_counts=True)
        for size in range(order, 0, -1):
            self._levels.append(_Level(keys, counts, vocabulary))
            keys, counts = np.unique(keys % vocabulary ** (size - 1), return_counts=True)

    def bits(self, texts: Sequence[NDArray[Any]], skipped: int = 0) -> float:
        """Compute the mean cross entropy of each token of these texts but the first ``skipped``, in
        bits."""
        grams = (_grams(text, self.order, self.vocabulary) for text in texts)
        keys = np.concatenate([found[skipped:] for found in grams])
        # Unseen anywhere: all tokens are equally likely.
        probability = np.full(len(keys), 1 / self.vocabulary)
        for size, level in enumerate(reversed(self._levels), 1):
            probability = level.interpolate(keys % self.vocabulary**size, probability)
        return float(-np.log(probability).mean() / math.log(2))


class _Level:
    """Counts of the n-grams of one order; a key has the n-gram's tokens as its digits."""

    def __init__(self, keys: NDArray[Any], counts: NDArray[Any], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.keys, self.counts = keys, counts
        self.contexts, first = np.unique(keys // vocabulary, return_index=True)
        self.totals = np.add.reduceat(counts, first)
        self.followers = np.diff(np.append(first, len(keys)))

    def interpolate(self, keys: NDArray[Any], lower: NDArray[Any]) -> NDArray[Any]:
        """Probabilities of the n-grams' last tokens, where ``lower`` has those of one order
        less."""
        place, seen = _look_up(self.contexts, keys // self.vocabulary)
        gram, occurred = _look_up(self.keys, keys)
        count = np.where(occurred, self.counts[gram], 0)
        total = np.where(seen, self.totals[place], 1)
        kept = np.maximum(count - DISCOUNT, 0) / total
        freed = DISCOUNT * self.followers[place] / total
        return np.where(seen, kept + freed * lower, lower)


def _look_up(table: NDArray[Any], keys: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Index of each key in a sorted table, and whether it is there."""
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return place, table[place] == keys


def _grams(text: NDArray[Any], order: int, vocabulary: int) -> NDArray[Any]:
    """The n-gram that ends at each token, as a number; 0 (padding) stands before the text."""
    padded = np.concatenate([np.zeros(order - 1, np.int64), text.astype(np.int64)])
    number = np.zeros(len(text), np.int64)
    for position in range(order):
        number = number * vocabulary + padded[position : position + len(text)]
    return number
