"""Pieces of words for texts like these, found by joining what stands side by side most often.

Source: R. Sennrich et al., "Neural machine translation of rare words with subword units" (2016),
section 3.2, without its mark for a word's end: a piece begins with the space before its word.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

from device_runner.front_ends.text import normalize

# A word with the space before it, or one mark with it; no piece goes beyond.
_WORD = re.compile(r" ?(?:\w+|[^\w\s])")

Pair = tuple[str, str]


def learn_pieces(texts: Iterable[str], count: int, least_count: int = 1) -> list[str]:
    """Find the characters of texts and up to ``count`` longer pieces.

    Args:
        texts: what the pieces are for.
        count: the most pieces of two characters and more.
        least_count: how often a character or a pair must occur.

    Returns:
        The characters, the most frequent first, then the pieces in the order in which they were
        joined; the same for the same texts in any order.
    """
    words: Counter[str] = Counter()
    for text in texts:
        words.update(_WORD.findall(normalize(text)))
    characters: Counter[str] = Counter()
    for word, times in words.items():
        characters.update(dict.fromkeys(word, 0))
        for character in word:
            characters[character] += times
    found = [one for one, times in _by_count(characters) if times >= least_count]
    parts = {word: list(word) for word in words}
    pairs, places = _pairs(words, parts)
    for _ in range(count):
        most = max(pairs.values(), default=0)
        if most < max(least_count, 2):
            break
        best = min(pair for pair, times in pairs.items() if times == most)
        found.append("".join(best))
        for word in places.pop(best):
            _count(pairs, places, word, parts[word], -words[word])
            parts[word] = _joined(parts[word], best)
            _count(pairs, places, word, parts[word], words[word])
    return list(dict.fromkeys(found))


def _pairs(
    words: Counter[str], parts: dict[str, list[str]]
) -> tuple[Counter[Pair], dict[Pair, set[str]]]:
    """How often each pair stands side by side, and in which words."""
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[str]] = {}
    for word, times in words.items():
        _count(pairs, places, word, parts[word], times)
    return pairs, places


def _count(
    pairs: Counter[Pair], places: dict[Pair, set[str]], word: str, parts: list[str], times: int
) -> None:
    """Add a word's pairs so many times, or take them away."""
    for pair in itertools.pairwise(parts):
        pairs[pair] += times
        if times > 0:
            places.setdefault(pair, set()).add(word)
        elif pairs[pair] <= 0:
            del pairs[pair]


def _joined(parts: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
