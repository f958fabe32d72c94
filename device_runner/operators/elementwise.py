"""Operators that work element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from device_runner.model.flatbuffer import Operator
from device_runner.operators.row import (
    ACTIVATION,
    Array,
    Compute,
    Field,
    Grid,
    OperatorRow,
    Options,
    Values,
    activate,
    integers,
    real,
)


def _unary(function: Callable[[Array], Array]) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        (x,) = real(operator, operands, 1)
        return [function(x)]

    return compute


def _binary(function: Callable[..., Array], activated: bool = True, counts: bool = True) -> Compute:
    """Make an operator of two operands, which may be ``counts``, with a fused activation."""

    def compute(operator: Operator, operands: Values) -> Values:
        if not counts or any(operand.dtype.kind != "i" for operand in operands):
            real(operator, operands, 2)
        result = function(*operands)
        return [activate(operator, result) if activated else result]

    return compute


def _elu(x: Array) -> Array:
    return np.where(x < 0, np.expm1(np.minimum(x, 0)), x)


def _gelu(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    if operator.options["approximate"]:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return [x * (1 + np.tanh(inner)) / 2]
    return [x * (1 + np.reshape([math.erf(v) for v in np.ravel(x) / math.sqrt(2)], x.shape)) / 2]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _leaky_relu(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    return [np.where(x < 0, x * operator.options["alpha"], x)]


def _activated(tag: int) -> Options:
    return Options(tag, (ACTIVATION,))


ROWS = (
    OperatorRow("ABS", 5, _unary(np.abs)),
    OperatorRow("ADD", 5, _binary(np.add), _activated(11), versions=integers(2, 3)),
    OperatorRow("DIV", 2, _binary(np.divide, counts=False), _activated(29)),
    OperatorRow("ELU", 1, _unary(_elu)),
    OperatorRow("EXP", 2, _unary(np.exp)),
    OperatorRow("GELU", 2, _gelu, Options(116, (Field(0, "approximate", "?"),))),
    OperatorRow("LEAKY_RELU", 2, _leaky_relu, Options(75, (Field(0, "alpha", "f"),))),
    OperatorRow("LOG", 2, _unary(np.log)),
    OperatorRow(
        "LOGISTIC", 3, _unary(_sigmoid), versions=integers(2, 3), prescribed=(0.0, 255 / 256)
    ),
    OperatorRow(
        "MAXIMUM",
        4,
        _binary(np.maximum, activated=False),
        versions=integers(2, 4),
        grid=Grid.JOINED,
    ),
    OperatorRow("MINIMUM", 4, _binary(np.minimum, activated=False), grid=Grid.JOINED),
    OperatorRow("MUL", 6, _binary(np.multiply), _activated(21), versions=integers(2, 4)),
    OperatorRow("NEG", 2, _unary(np.negative)),
    OperatorRow("RELU", 3, _unary(lambda x: np.maximum(x, 0)), versions=integers(2, 3)),
    OperatorRow("RELU6", 3, _unary(lambda x: np.clip(x, 0, 6))),
    OperatorRow("RSQRT", 3, _unary(lambda x: np.asarray(1 / np.sqrt(x))), versions=integers(2)),
    OperatorRow("SQRT", 2, _unary(np.sqrt)),
    OperatorRow("SUB", 5, _binary(np.subtract), _activated(28), versions=integers(2, 5)),
    OperatorRow("TANH", 3, _unary(np.tanh), versions=integers(2, 3), prescribed=(-1.0, 127 / 128)),
)
