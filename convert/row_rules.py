"""What an operator needs to keep rows apart: which of its constants change, and what it cannot do.

Rows lie along the first axis, block after block: a tensor of the shape [a, ...] has [rows * a, ...]
and the blocks of ``a`` are the rows. A rule per operator says which constants take other values
with rows, or raises MixedRowsError if a row would read from another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runner.model.flatbuffer import Operator

Shape = tuple[int, ...]
#: The constants that change, by their place among an operator's inputs.
Changed = dict[int, NDArray[Any]]


class MixedRowsError(Exception):
    """An operator cannot keep rows apart; the message goes on from its name."""


class Reading(NamedTuple):
    """An operator of the graph of one row.

    Attributes:
        rows: how many there are to be.
        inputs, outputs: shapes of one row; () for an input that is left out.
        having: places among the inputs of what is to have rows; at least one.
        constants: values of the inputs that are constants, as stored; None for others.
    """

    operator: Operator
    rows: int
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    having: frozenset[int]
    constants: tuple[NDArray[Any] | None, ...]

    def option(self, name: str) -> int:
        return int(self.operator.options[name])

    def sizes(self, place: int) -> NDArray[Any]:
        """Return a constant list of axes, sizes or indices."""
        found = self.constants[place]
        if found is None:
            raise MixedRowsError("reads sizes or axes that the step computes")
        return found

    def only_first_has_rows(self) -> None:
        if self.having != {0}:
            raise MixedRowsError("has weights or sizes that differ from row to row")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise MixedRowsError(otherwise)


def _each_value(reading: Reading) -> Changed:
    """Of operators that work value by value, or image by image of a batch."""
    reading.only_first_has_rows()
    return {}


def _joined(reading: Reading) -> Changed:
    """Of operators that take several tensors value by value: what is not repeated is laid out."""
    (result,) = reading.outputs
    for place in reading.having:
        shape = reading.inputs[place]
        _require(
            len(shape) == len(result) and shape[0] == result[0],
            "repeats a row's values for tensors of another rank or size",
        )
    return _laid_out(reading, lambda shape: len(shape) == len(result) and shape[0] > 1)


def _concatenated(reading: Reading) -> Changed:
    (result,) = reading.outputs
    _require(reading.option("axis") % len(result) != 0, "joins along the rows' axis")
    return _laid_out(reading, lambda shape: True)


def _laid_out(reading: Reading, wanted: Callable[[Shape], bool]) -> Changed:
    """Repeat constants along the first axis, once for each row."""
    changed: Changed = {}
    for place, shape in enumerate(reading.inputs):
        if place in reading.having or not wanted(shape):
            continue
        constant = reading.constants[place]
        if constant is None:
            raise MixedRowsError("joins rows with what the step computes of constants alone")
        changed[place] = np.tile(constant, (reading.rows, *[1] * (constant.ndim - 1)))
    return changed


def _along_last(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    _require(len(reading.inputs[0]) > 1, "reads along the rows' axis")
    return {}


def _product(reading: Reading) -> Changed:
    _along_last(reading)
    # Without keep_num_dims all axes but the last become one, row after row.
    _require(reading.inputs[0][-1] == reading.inputs[1][-1], "takes several values of a row as one")
    return {}


def _batch_product(reading: Reading) -> Changed:
    x, y = reading.inputs
    (result,) = reading.outputs
    if len(x) == len(y) == 2:
        _require(reading.having == {0}, "multiplies by a matrix that differs from row to row")
        _require(not reading.option("adj_x"), "reads along the rows' axis")
        return {}
    for place in reading.having:
        shape = reading.inputs[place]
        _require(len(shape) == len(result) and shape[0] == result[0], "repeats a row's matrices")
    return _laid_out(reading, lambda shape: len(shape) == len(result) and shape[0] > 1)


def _reduced(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    rank = len(reading.inputs[0])
    _require(all(axis % rank for axis in reading.sizes(1).reshape(-1)), "sums up rows")
    return {}


def _split(reading: Reading) -> Changed:
    _require(reading.having == {1}, "has an axis that the step computes")
    (axis,) = reading.sizes(0).reshape(-1)
    _require(axis % len(reading.inputs[1]) != 0, "cuts along the rows' axis")
    return {}


def _reshaped(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    sizes = np.array(reading.sizes(1))
    _require(sizes.size > 0 and bool(reading.inputs[0]), "leaves no axis for rows")
    if sizes[0] == -1:
        return {}
    # Each row's values stay in one block.
    sizes[0] = reading.outputs[0][0] * reading.rows
    return {1: sizes}


def _sliced(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    begins, sizes = reading.sizes(1), np.array(reading.sizes(2))
    whole = reading.inputs[0][0]
    _require(begins[0] == 0 and sizes[0] in (-1, whole), "takes a part of the rows' axis")
    if sizes[0] == -1:
        return {}
    sizes[0] = whole * reading.rows
    return {2: sizes}


def _strided(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    begins, strides = reading.sizes(1), reading.sizes(3)
    ends, whole = np.array(reading.sizes(2)), reading.inputs[0][0]
    from_first = begins[0] == 0 or reading.option("begin_mask") & 1
    to_last = ends[0] >= whole or reading.option("end_mask") & 1
    _require(
        bool(from_first and to_last and strides[0] == 1)
        and not reading.option("shrink_axis_mask") & 1,
        "takes a part of the rows' axis",
    )
    ends[0] = whole * reading.rows
    return {2: ends}


def _transposed(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    _require(reading.sizes(1)[0] == 0, "moves the rows' axis")
    return {}


def _padded(reading: Reading) -> Changed:
    reading.only_first_has_rows()
    _require(not reading.sizes(1)[0].any(), "adds rows")
    return {}


def _gathered(reading: Reading) -> Changed:
    axis, batch = reading.option("axis"), reading.option("batch_dims")
    axis += len(reading.inputs[0]) if axis < 0 else 0
    batch += len(reading.inputs[1]) if batch < 0 else 0
    if reading.having == {1}:
        _require(axis == batch == 0, "looks a row's positions up along another axis")
    elif reading.having == {0}:
        _require(axis > 0 and batch == 0, "looks rows up")
    else:
        _require(batch > 0, "looks rows up that differ from row to row")
    return {}


def _up_scaled(reading: Reading) -> Changed:
    """Of TRANSPOSE_CONV, which is told the size of its result."""
    _require(reading.having == {2}, "has weights or sizes that differ from row to row")
    sizes = np.array(reading.sizes(0))
    sizes[0] = reading.outputs[0][0] * reading.rows
    return {0: sizes}


RULES: dict[str, Callable[[Reading], Changed]] = {
    **dict.fromkeys(
        (
            "ABS", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "ELU", "EXP",
            "GELU", "LEAKY_RELU", "LOG", "LOGISTIC", "MAX_POOL_2D", "NEG", "QUANTIZE", "RELU",
            "RELU6", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SQRT", "TANH",
        ),
        _each_value,
    ),
    **dict.fromkeys(("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SUB"), _joined),
    **dict.fromkeys(("LOG_SOFTMAX", "SOFTMAX"), _along_last),
    **dict.fromkeys(("MEAN", "SUM"), _reduced),
    "BATCH_MATMUL": _batch_product,
    "CONCATENATION": _concatenated,
    "FULLY_CONNECTED": _product,
    "GATHER": _gathered,
    "PAD": _padded,
    "RESHAPE": _reshaped,
    "SLICE": _sliced,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided,
    "TRANSPOSE": _transposed,
    "TRANSPOSE_CONV": _up_scaled,
}  # fmt: skip
