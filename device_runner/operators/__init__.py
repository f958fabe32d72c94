"""TFLite's operators: what each computes, how integers hold it, and what it costs.

One row per operator, in files by kind. ``convert/operators/`` holds what needs TensorFlow or ONNX,
by the same names.
"""

from __future__ import annotations

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Operator
from device_runner.model.tflite_schema import ACTIVATIONS
from device_runner.operators import conversions, elementwise, images, products, reductions, shapes
from device_runner.operators.row import Compute, OperatorRow, misfit

OPERATORS: dict[str, OperatorRow] = {
    row.name: row
    for kind in (conversions, elementwise, images, products, reductions, shapes)
    for row in kind.ROWS
}


def check_operator(operator: Operator) -> Compute:
    """Return how an operator is computed.

    Raises:
        BadModelError: the operator, its version or one of its options is not known here.
    """
    row = OPERATORS.get(operator.name)
    if row is None or row.compute is None:
        known = ", ".join(sorted(name for name, one in OPERATORS.items() if one.compute))
        raise BadModelError(
            f"operator {operator.name} is not known here (known are: {known}); use another backend"
        )
    if not 1 <= operator.version <= row.version:
        raise BadModelError(
            f"operator {operator.name} has version {operator.version}, known here are 1 to "
            f"{row.version}; use another backend"
        )
    options = operator.options
    if not options and row.options is not None:
        raise misfit(operator, "its options are another operator's")
    if not 0 <= options.get("activation", 0) < len(ACTIVATIONS) - 1:  # but SIGN_BIT
        raise misfit(operator, f"its activation {options['activation']} is not known here")
    if row.check is not None:
        row.check(operator)
    return row.compute


__all__ = ["OPERATORS", "OperatorRow", "check_operator"]
