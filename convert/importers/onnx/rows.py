"""Compute operators for several independent sequences at once, whose states are rows.

An operator's rule computes one sequence. A value that depends on states has an axis of rows in
front of its own axes then; what depends on the inputs alone has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from convert.layers.layer_rule import Joined, LayerValues, plain

Step = Callable[[LayerValues, LayerValues], tuple[LayerValues, LayerValues]]


def with_rows(step: Step, ranks: tuple[int, ...], rowwise: bool) -> Step:
    """Let a rule compute rows.

    Args:
        step: computes one sequence.
        ranks: number of axes of each input in one sequence.
        rowwise: whether it computes rows as they are, as element-wise operators do.
    """

    def compute(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        rowed = [_rank(value) > rank for value, rank in zip(inputs, ranks, strict=True)]
        rows = int(states[0].shape[0]) if states else 1
        if rows == 1 and not any(rowed):
            return step(inputs, states)
        # Values are broadcast from their last axes, so those with rows must have all axes.
        whole = all(rank == max(ranks) for rank, own in zip(ranks, rowed, strict=True) if own)
        if rowwise and whole:
            return step(inputs, states)
        inputs = tuple(plain(value) if own else value
                       for value, own in zip(inputs, rowed, strict=True))  # fmt: skip
        if any(rowed):
            rows = next(int(v.shape[0]) for v, own in zip(inputs, rowed, strict=True) if own)
        found = [
            step(
                tuple(v[row] if own else v for v, own in zip(inputs, rowed, strict=True)),
                tuple(state[row : row + 1] for state in states),
            )
            for row in range(rows)
        ]
        outputs = [tf.stack([plain(one) for one in column])
                   for column in zip(*(given for given, _ in found), strict=True)]  # fmt: skip
        new = [tf.concat(column, 0) for column in zip(*(kept for _, kept in found), strict=True)]
        return tuple(outputs), tuple(new)

    return compute


def reshaped(value: Any, rank: int, shape: tuple[int, ...]) -> Any:
    """Change a value's shape in one step to [1, ...]; with rows in front, to [rows, ...]."""
    if len(value.shape) > rank:
        return tf.reshape(value, (int(value.shape[0]), *shape[1:]))
    return tf.reshape(value, shape)


def entered(value: Any, shape: tuple[int, ...]) -> Any:
    """Change a state [1, ...] to its shape in one step; of several rows, with rows in front."""
    rows = int(value.shape[0])
    return tf.reshape(value, shape if rows == 1 else (rows, *shape))


def _rank(value: Any) -> int:
    parts = value.parts if isinstance(value, Joined) else (value,)
    return max(len(part.shape) for part in parts)
