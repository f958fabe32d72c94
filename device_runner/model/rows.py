"""Rows: a step model that takes N frames a call, one of each of N independent streams.

Every input, output and state has N rows along its first axis, each with the bytes that the model of
one row has. No row knows another. The golden sequences and the recorded run are those of the model
of one row: what follows lays them out in rows, each row differently, so that a row that reads from
another is found out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, BadModelError
from device_runner.model.contract import Contract
from device_runner.model.tensor_spec import TensorSpec

# Rows that begin with the same golden sequence are up to so many steps apart.
_LARGEST_LEAD = 3
# What the golden sequences may take, laid out in all rows.
GOLDEN_LIMIT_BYTES = 1024 * 1024 * 1024
_FLOAT_BYTES = 4


def check_golden_size(contract: Contract, steps: int) -> None:
    """Raise BadModelError if so many golden steps in all rows are more than a verification takes.

    Example:
        >>> from device_runner.model.step_file import load_step_model
        >>> check_golden_size(load_step_model("gru-int8.tflite").contract.of_rows(512), 100)
    """
    values = sum(math.prod(spec.shape) for spec in (*contract.inputs, *contract.outputs))
    needed = steps * _FLOAT_BYTES * values
    if contract.rows > 1 and needed > GOLDEN_LIMIT_BYTES:
        raise BadModelError(
            f"the golden sequences in {contract.rows:,} rows take {needed >> 20:,} MB, "
            f"{GOLDEN_LIMIT_BYTES >> 20:,} at most; take fewer rows"
        )


def golden_places(lengths: Sequence[int], rows: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Lay golden sequences out in rows.

    Each row steps through all of them, beginning with another one than the row before it, and some
    steps later than the last row that began with the same. What a row steps before and after is
    not to be compared.

    Args:
        lengths: steps of each sequence.

    Returns:
        The golden step that each row has at each call, [calls, rows], and whether it is one to be
        compared, [calls, rows]. A row is reset before each first step of a sequence.

    Example:
        >>> places, counts = golden_places((2, 1), rows=3)
        >>> places.T.tolist()
        [[0, 1, 2, 0], [2, 0, 1, 2], [0, 0, 1, 2]]
        >>> counts.T.astype(int).tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1]]
    """
    ends = np.cumsum(lengths)
    parts = [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]
    count, steps = len(parts), int(ends[-1])
    orders = [np.concatenate([*parts[first:], *parts[:first]]) for first in range(count)]
    leads = [row // count % (_LARGEST_LEAD + 1) for row in range(rows)]
    longest = max(leads)
    places = np.empty((steps + longest, rows), np.int64)
    counts = np.zeros((steps + longest, rows), bool)
    for row, lead in enumerate(leads):
        order = orders[row % count]
        places[:, row] = np.concatenate([np.resize(order, lead), order, np.resize(order, longest)])[
            : steps + longest
        ]
        counts[lead : lead + steps, row] = True
    return places, counts


def join_rows(rows: Sequence[bytes], specs: Sequence[TensorSpec]) -> bytes:
    """Put the bytes of one-row tensors together as those of tensors of so many rows.

    Args:
        rows: of each row, the bytes of all tensors one after another.
        specs: of one row.

    Example:
        >>> a, b = TensorSpec("a", (1, 2), "int8", 1.0, 0), TensorSpec("b", (1, 1), "int8", 1.0, 0)
        >>> join_rows([b"AAB", b"aab"], [a, b])
        b'AAaaBb'
    """
    return b"".join(row[place] for place in _places(specs) for row in rows)


def split_rows(stored: bytes, specs: Sequence[TensorSpec], rows: int) -> list[bytes]:
    """Undo :func:`join_rows`: the bytes of all tensors, row by row.

    Example:
        >>> a, b = TensorSpec("a", (1, 2), "int8", 1.0, 0), TensorSpec("b", (1, 1), "int8", 1.0, 0)
        >>> split_rows(b"AAaaBb", [a, b], 2)
        [b'AAB', b'aab']
    """
    table = np.frombuffer(stored, np.uint8)
    parts = [
        table[place.start * rows : place.stop * rows].reshape(rows, -1) for place in _places(specs)
    ]
    return [row.tobytes() for row in np.concatenate(parts, 1)]


def with_rows_anew(
    states: Mapping[str, bytes], contract: Contract, rows: Sequence[int]
) -> dict[str, bytes]:
    """Return states in which some rows have their initial values.

    Args:
        states: as stored, by name.

    Raises:
        BadInputError: there is no such row.
    """
    count, anew = contract.rows, dict(states)
    for row in rows:
        if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < count:
            raise BadInputError(f"there is no row {row!r}: the model has the rows 0 to {count - 1}")
    for state in contract.states:
        table = np.frombuffer(states[state.name], np.uint8).reshape(count, -1).copy()
        table[list(rows)] = np.frombuffer(state.initial_row(count), np.uint8)
        anew[state.name] = table.tobytes()
    return anew


def _places(specs: Sequence[TensorSpec]) -> list[slice]:
    ends = list(itertools.accumulate(spec.byte_count for spec in specs))
    return [slice(end - spec.byte_count, end) for spec, end in zip(specs, ends, strict=True)]
