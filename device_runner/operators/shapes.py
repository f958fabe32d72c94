"""Operators that change a tensor's shape, take parts of it, or join tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runner.model.flatbuffer import Operator
from device_runner.operators.row import (
    ACTIVATION,
    Field,
    Grid,
    OperatorRow,
    Options,
    Values,
    activate,
    indices,
    integers,
    misfit,
    real,
)

# STRIDED_SLICE's only masks that are known here.
KNOWN_MASKS = ("begin_mask", "end_mask", "shrink_axis_mask")


def _concatenation(operator: Operator, operands: Values) -> Values:
    parts = real(operator, operands, len(operands))
    return [activate(operator, np.concatenate(parts, int(operator.options["axis"])))]


def _gather(operator: Operator, operands: Values) -> Values:
    table, positions = operands
    if positions.dtype.kind != "i":
        raise misfit(operator, "its positions are not integers")
    axis, batch = int(operator.options["axis"]), int(operator.options["batch_dims"])
    axis += table.ndim if axis < 0 else 0
    batch += positions.ndim if batch < 0 else 0
    if not 0 <= batch <= axis < table.ndim or table.shape[:batch] != positions.shape[:batch]:
        raise misfit(operator, f"its axis is {axis}, after {batch} of a batch")
    if positions.size and not 0 <= positions.min() <= positions.max() < table.shape[axis]:
        raise misfit(operator, f"a position is outside of 0 to {table.shape[axis] - 1}")
    rows = [
        np.take(table[place], positions[place], axis - batch)
        for place in np.ndindex(*table.shape[:batch])
    ]
    return [np.stack(rows).reshape(*table.shape[:batch], *rows[0].shape)]


def _reshape(operator: Operator, operands: Values) -> Values:
    x, shape = operands
    return [x.reshape(indices(operator, shape))]


def _slice(operator: Operator, operands: Values) -> Values:
    x, begins, sizes = operands
    begin, size = indices(operator, begins), indices(operator, sizes)
    parts = [
        slice(b, None if n == -1 else b + n)
        for b, n in zip(begin, size, strict=True)
        if b >= 0 and n >= -1
    ]
    if len(parts) != x.ndim:
        raise misfit(operator, "it begins outside of the tensor")
    return [x[tuple(parts)]]


def _split(operator: Operator, operands: Values) -> Values:
    if len(operands) != 2 or len(operator.outputs) != operator.options["num_splits"]:
        raise misfit(operator, "its number of parts is unclear")
    (axis,) = indices(operator, operands[0])
    return np.split(operands[1], len(operator.outputs), axis)


def _known_masks(operator: Operator) -> None:
    for mask, value in operator.options.items():
        if value and mask not in KNOWN_MASKS:
            raise misfit(operator, f"its {mask} is not known here")


def strided_slice_parts(
    operator: Operator, begins: Sequence[int], ends: Sequence[int], strides: Sequence[int]
) -> list[slice | int]:
    """Return what STRIDED_SLICE takes along each axis.

    That is a slice, or the one index of an axis that it removes.

    Raises:
        BadModelError: the lists differ in length.
    """
    if not len(begins) == len(ends) == len(strides):
        raise misfit(operator, "its begins, ends and strides differ in number")
    begin_mask, end_mask, shrink = (int(operator.options[mask]) for mask in KNOWN_MASKS)
    parts: list[slice | int] = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bit = 1 << axis
        if shrink & bit:
            parts.append(begin)
        else:
            parts.append(
                slice(None if begin_mask & bit else begin, None if end_mask & bit else end, stride)
            )
    return parts


def _strided_slice(operator: Operator, operands: Values) -> Values:
    x, *limits = operands
    begins, ends, strides = (indices(operator, limit) for limit in limits)
    return [x[tuple(strided_slice_parts(operator, begins, ends, strides))]]


def _transpose(operator: Operator, operands: Values) -> Values:
    x, order = operands
    return [x.transpose(indices(operator, order))]


ROWS = (
    OperatorRow(
        "CONCATENATION",
        3,
        _concatenation,
        Options(10, (Field(0, "axis", "i"), ACTIVATION._replace(number=1))),
        versions=integers(2, 3),
        grid=Grid.JOINED,
    ),
    OperatorRow("EXPAND_DIMS", grid=Grid.PASSED, passes_ids=True),
    OperatorRow(
        "GATHER",
        5,
        _gather,
        Options(23, (Field(0, "axis", "i"), Field(1, "batch_dims", "i"))),
        versions=integers(2, 4),
        grid=Grid.TABLE,
    ),
    OperatorRow(
        "PACK", options=Options(59, (Field(0, "values_count", "i"), Field(1, "axis", "i")))
    ),
    OperatorRow("RESHAPE", 1, _reshape, versions=integers(1, 1), grid=Grid.PASSED, passes_ids=True),
    OperatorRow("SLICE", 6, _slice, grid=Grid.PASSED, passes_ids=True),
    OperatorRow(
        "SPLIT",
        4,
        _split,
        Options(35, (Field(0, "num_splits", "i"),)),
        versions=integers(2, 4),
        grid=Grid.PASSED,
        source=1,  # the axis comes first
    ),
    OperatorRow("SQUEEZE", grid=Grid.PASSED, passes_ids=True),
    OperatorRow(
        "STRIDED_SLICE",
        4,
        _strided_slice,
        Options(
            32,
            (
                Field(0, "begin_mask", "i"),
                Field(1, "end_mask", "i"),
                Field(2, "ellipsis_mask", "i"),
                Field(3, "new_axis_mask", "i"),
                Field(4, "shrink_axis_mask", "i"),
                Field(5, "offset", "?"),
            ),
        ),
        check=_known_masks,
        versions=integers(2, 4),
        grid=Grid.PASSED,
        passes_ids=True,
    ),
    OperatorRow("TRANSPOSE", 6, _transpose, versions=integers(2, 5), grid=Grid.PASSED),
)
