"""Operators that multiply matrices."""

from __future__ import annotations

import math

from device_runner.model.flatbuffer import Operator
from device_runner.operators.row import (
    ACTIVATION,
    Field,
    Form,
    OperatorRow,
    Options,
    ShapeOf,
    Values,
    activate,
    integers,
    misfit,
    real,
)


def _fully_connected(operator: Operator, operands: Values) -> Values:
    x, weights, *bias = real(operator, operands, min(max(len(operands), 2), 3))
    if weights.ndim != 2 or (bias and bias[0].shape != weights.shape[:1]):
        raise misfit(operator, "its weights are not a matrix, or its bias has another length")
    units, width = weights.shape
    keep = operator.options["keep_num_dims"]
    if keep and x.shape[-1] != width:
        raise misfit(operator, f"it multiplies {x.shape[-1]} values with rows of {width}")
    result = x.reshape(-1, width) @ weights.T + (bias[0] if bias else 0)
    return [activate(operator, result.reshape(*x.shape[:-1], units) if keep else result)]


def _default_weights(operator: Operator) -> None:
    if operator.options.get("weights_format"):
        raise misfit(operator, "its weights are shuffled")


def _batch_matmul(operator: Operator, operands: Values) -> Values:
    x, y = real(operator, operands, 2)
    x = x.swapaxes(-1, -2) if operator.options["adj_x"] else x
    y = y.swapaxes(-1, -2) if operator.options["adj_y"] else y
    return [x @ y]


def _of_fully_connected(operator: Operator, shape: ShapeOf) -> int:
    return math.prod(shape(operator.outputs[0])) * shape(operator.inputs[1])[-1]


def _of_batch_matmul(operator: Operator, shape: ShapeOf) -> int:
    inner = shape(operator.inputs[0])[-2 if operator.options.get("adj_x") else -1]
    return math.prod(shape(operator.outputs[0])) * inner


ROWS = (
    OperatorRow(
        "BATCH_MATMUL",
        4,
        _batch_matmul,
        Options(101, (Field(0, "adj_x", "?"), Field(1, "adj_y", "?"))),
        multiply_adds=_of_batch_matmul,
    ),
    OperatorRow(
        "FULLY_CONNECTED",
        12,
        _fully_connected,
        Options(8, (ACTIVATION, Field(1, "weights_format", "b"), Field(2, "keep_num_dims", "?"))),
        check=_default_weights,
        optional_inputs=True,
        matrix=1,
        bias=2,
        versions={**integers(4, 7), Form.HYBRID: 9, Form.HYBRID_PER_CHANNEL: 12},
        multiply_adds=_of_fully_connected,
    ),
)
