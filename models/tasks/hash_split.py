"""A split that depends on names alone: the same on every machine, whatever else is added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


def split_by_name(names: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Give the indices of (training, validation, test) data; items of one name are on one side.

    Of the names, about TEST_SHARE are test data and VALIDATION_SHARE validation data.
    """
    places = np.array([_place(name) for name in names])
    tested = places < TEST_SHARE
    held_out = ~tested & (places < TEST_SHARE + VALIDATION_SHARE)
    return (
        np.flatnonzero(~tested & ~held_out),
        np.flatnonzero(held_out),
        np.flatnonzero(tested),
    )


def _place(name: str) -> float:
    """The name's hash as a number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
