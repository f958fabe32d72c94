"""Operators that store the same values in another dtype."""

from __future__ import annotations

from device_runner.model.flatbuffer import Operator
from device_runner.operators.row import Form, OperatorRow, Values, real


def _same(operator: Operator, operands: Values) -> Values:
    """Keep the real values; the grid is applied to what leaves the step."""
    return real(operator, operands, 1)


ROWS = (
    OperatorRow("CAST", passes_ids=True),
    OperatorRow("DEQUANTIZE", 5, _same, versions={Form.FLOAT16: 3}),
    OperatorRow("QUANTIZE", 4, _same),
)
