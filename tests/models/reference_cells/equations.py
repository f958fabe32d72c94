"""What the equations of several cells have in common, in NumPy float64.

Vectors are columns here: a gate's matrix W acts on the stacked vector [h, x] as W @ [h, x]. The
only thing taken over from the cells is the layout in which their weights are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Weights = dict[str, np.ndarray]
States = dict[str, np.ndarray]


class Reference(NamedTuple):
    """``step(x, states, weights, **options)``, the options that the cell is tested with, and the
    states that are never below zero."""

    step: Callable[..., tuple[np.ndarray, States]]
    options: tuple[dict[str, Any], ...] = ({},)
    positive: tuple[str, ...] = ()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def block(stored, gate, units):
    """Return the columns of one gate in a stored matrix or bias."""
    return stored[..., gate * units : (gate + 1) * units]


def gate_matrix(weights, gate, units):
    """W [H, H + inputs] of one gate, acting on [h, x]."""
    return np.hstack(
        [
            block(weights["recurrent_kernel"], gate, units).T,
            block(weights["kernel"], gate, units).T,
        ]
    )


def householder(v):
    """Return the reflection I - 2 v v^T / v^T v."""
    return np.eye(len(v)) - 2 * np.outer(v, v) / np.dot(v, v)


def orthogonal_matrix(reflectors):
    """The reflections over the columns v_1 ... v_k multiplied one by one: H_1 H_2 ... H_k."""
    q = np.eye(len(reflectors))
    for v in reflectors.T:
        q = q @ householder(v)
    return q


def from_input(x, weights, gate, units):
    return block(weights["kernel"], gate, units).T @ x + block(weights["bias"], gate, units)


def query_key_value(x, weights, units, heads):
    """Before their activations, each [heads, H / heads]."""
    return [from_input(x, weights, part, units).reshape(heads, -1) for part in range(3)]
