"""Texts that stand on two sides of a split, equal but for case and marks, and go from the side that
learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bare(text: str) -> str:
    """Give a text's letters and digits, in lower case: what is left without case and marks."""
    return "".join(filter(str.isalnum, text.casefold()))


def unshared(texts: Sequence[tuple[str, ...]], held_out: Iterable[tuple[str, ...]]) -> list[int]:
    """Find the items of which no text stands in the held-out items.

    Args:
        texts: of each item its texts, a translation's being two.
        held_out: the same of the items that are kept apart. Texts without a letter or digit do not
            count.

    Returns:
        Indices into ``texts``, ascending.

    Example:
        >>> unshared([("Stop!",), ("Go on",), ("--",)], [("stop",), ("--",)])
        [1, 2]
    """
    kept_apart = {bare(text) for item in held_out for text in item} - {""}
    return [
        index
        for index, item in enumerate(texts)
        if kept_apart.isdisjoint(bare(text) for text in item)
    ]


def split_unshared(
    texts: Sequence[tuple[str, ...]], sides: Sequence[NDArray[Any]]
) -> tuple[list[NDArray[np.int64]], str]:
    """Take shared texts out of the training and validation sides of a split.

    A training text goes if it stands in validation or test data, a validation text if it stands in
    test data. The test data stays as it is.

    Args:
        texts: of all items, as for :func:`unshared`.
        sides: indices of (training, validation, test) items.

    Returns:
        The same three without what went, and a sentence with the counts for ``Task.remarks``.
    """
    items = [[texts[i] for i in side] for side in sides]
    kept = [
        unshared(items[0], items[1] + items[2]),
        unshared(items[1], items[2]),
        range(len(items[2])),
    ]
    left = [np.asarray(side)[list(chosen)] for side, chosen in zip(sides, kept, strict=True)]
    total = len(items[0]) + len(items[1])
    return left, remark(total - len(left[0]) - len(left[1]), total)


def remark(removed: int, total: int, what: str = "texts") -> str:
    """Say how many were left out."""
    return (
        f"{removed:,} of {total:,} training and validation {what} also stand in test or validation "
        "data, but for case and marks, and are left out"
    )
