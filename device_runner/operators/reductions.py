"""Operators that make one value from many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from device_runner.model.flatbuffer import Operator
from device_runner.operators.row import (
    Array,
    Compute,
    Field,
    OperatorRow,
    Options,
    Values,
    indices,
    integers,
    real,
)

_KEEP_DIMS = Options(27, (Field(0, "keep_dims", "?"),))


def _reduce(function: Callable[..., Array]) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        x, axes = operands
        keep = bool(operator.options["keep_dims"])
        return [function(x, axis=tuple(indices(operator, axes)), keepdims=keep)]

    return compute


def _softmax(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    powers = np.exp((x - x.max(-1, keepdims=True)) * operator.options["beta"])
    return [powers / powers.sum(-1, keepdims=True)]


def _log_softmax(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    below = x - x.max(-1, keepdims=True)
    return [below - np.log(np.exp(below).sum(-1, keepdims=True))]


ROWS = (
    OperatorRow("LOG_SOFTMAX", 2, _log_softmax),
    OperatorRow("MEAN", 3, _reduce(np.mean), _KEEP_DIMS, versions=integers(2)),
    OperatorRow(
        "SOFTMAX",
        3,
        _softmax,
        Options(9, (Field(0, "beta", "f"),)),
        versions=integers(2, 3),
        prescribed=(0.0, 255 / 256),
    ),
    OperatorRow("SUM", 2, _reduce(np.sum), _KEEP_DIMS, versions=integers(2)),
)
