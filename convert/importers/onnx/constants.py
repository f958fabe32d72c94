"""Operators that give constants: written in the file, or made of shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convert.importers.onnx.elementwise import Rule
from convert.importers.onnx.value import Call, Known

# No constant that a graph computes is larger.
CONSTANT_LIMIT = 2**24


def constant(call: Call) -> Known:
    """Give a constant."""
    for name, dtype in (("value", None), ("value_float", "f4"), ("value_floats", "f4"),
                        ("value_int", "i8"), ("value_ints", "i8")):  # fmt: skip
        if (given := call.attribute(name)) is not None:
            return Known((np.asarray(given, dtype),))
    raise call.refusal("holds no numbers")


def filled(call: Call) -> Known:
    """Give a constant of a shape: ConstantOfShape."""
    shape = [int(n) for n in call.constant(0).ravel()]
    value = np.asarray(call.attribute("value", np.zeros(1, np.float32)))
    check_size(call, shape)
    return Known((np.full(shape, value.ravel()[0], value.dtype),))


def check_size(call: Call, shape: Any) -> None:
    """Refuse a value that is too large."""
    if any(n < 0 for n in shape) or math.prod(int(n) for n in shape) > CONSTANT_LIMIT:
        raise call.refusal(f"gives a value of shape {list(shape)}, which is too large")


def shape_of(call: Call) -> Known:
    """Give a value's shape over a whole sequence."""
    shape = call.value().full_shape(call.steps)
    end = call.attribute("end")
    return Known((np.array(shape[call.attribute("start", 0) : end], np.int64),))


def size_of(call: Call) -> Known:
    """Give the number of a value's elements."""
    return Known((np.array(math.prod(call.value().full_shape(call.steps)), np.int64),))


def numbered(call: Call) -> Known:
    """Give start, start + delta...: Range."""
    start, limit, delta = (call.constant(position).ravel()[0] for position in range(3))
    count = max(math.ceil((limit - start) / delta), 0)
    check_size(call, [count])
    return Known((start + delta * np.arange(count, dtype=start.dtype),))


ROWS: dict[str, Rule] = {
    "Constant": constant,
    "ConstantOfShape": filled,
    "Shape": shape_of,
    "Size": size_of,
    "Range": numbered,
}
