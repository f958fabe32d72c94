"""Operators on images, [rows, height, width, channels].

Sources: TensorFlow's ``tf.nn.convolution`` for padding, ``tensorflow/lite/kernels`` for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    ShapeOf,
    Values,
    activate,
    indices,
    integers,
    misfit,
    real,
)

SAME, VALID = 0, 1
# No window over an image of a step is larger; a damaged one may be.
WINDOW_LIMIT = 2**12
# No image within a step has more values.
SIZE_LIMIT = 2**26

_STRIDES = (Field(0, "padding", "b"), Field(1, "stride_w", "i"), Field(2, "stride_h", "i"))
_CONVOLUTION = Options(
    1,
    (
        *_STRIDES,
        ACTIVATION._replace(number=3),
        Field(4, "dilation_w", "i", 1),
        Field(5, "dilation_h", "i", 1),
    ),
)
_DEPTHWISE = Options(
    2,
    (
        *_STRIDES,
        ACTIVATION._replace(number=4),
        Field(5, "dilation_w", "i", 1),
        Field(6, "dilation_h", "i", 1),
    ),
)
_POOLING = Options(
    5,
    (
        *_STRIDES,
        Field(3, "filter_w", "i"),
        Field(4, "filter_h", "i"),
        ACTIVATION._replace(number=5),
    ),
)
_TRANSPOSED = Options(49, (*_STRIDES, ACTIVATION._replace(number=3)))
_BILINEAR = Options(15, (Field(2, "align_corners", "?"), Field(3, "half_pixel", "?")))
_NEAREST = Options(74, (Field(0, "align_corners", "?"), Field(1, "half_pixel", "?")))


class Window(NamedTuple):
    """How windows lie along one axis: their size, stride and dilation, and the padding there."""

    size: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """How many places a window covers."""
        return (self.size - 1) * self.dilation + 1


def window(operator: Operator, length: int, size: int, axis: str) -> Window:
    """Return how an operator's windows lie along an axis ("h" or "w") of a length.

    Raises:
        BadModelError: an option is not possible.
    """
    options = operator.options
    stride = int(options[f"stride_{axis}"])
    dilation = int(options.get(f"dilation_{axis}", 1))
    if not (stride > 0 and dilation > 0 and 0 < (size - 1) * dilation + 1 <= WINDOW_LIMIT):
        raise misfit(operator, f"its window of {size}, stride {stride}, dilation {dilation}")
    if options["padding"] not in (SAME, VALID):
        raise misfit(operator, f"its padding {options['padding']} is not known here")
    total = 0
    if options["padding"] == SAME:
        total = (math.ceil(length / stride) - 1) * stride + (size - 1) * dilation + 1 - length
        total = max(total, 0)
    return Window(size, stride, dilation, total // 2, total - total // 2)


def _windows(
    operator: Operator, x: Array, sizes: Sequence[int], fill: float
) -> tuple[Array, tuple[Window, Window]]:
    """Cut an image into its windows [rows, height, width, channels, size_h, size_w]."""
    if x.ndim != 4:
        raise misfit(operator, f"its input has {x.ndim} axes, not 4")
    high = window(operator, x.shape[1], int(sizes[0]), "h")
    wide = window(operator, x.shape[2], int(sizes[1]), "w")
    around = ((0, 0), high[3:], wide[3:], (0, 0))
    padded = np.pad(x, around, constant_values=fill)
    reach = high.reach, wide.reach
    cut = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))  # type: ignore[call-overload]
    chosen = cut[:, :: high.stride, :: wide.stride, :, :: high.dilation, :: wide.dilation]
    return chosen, (high, wide)


def _convolution(operator: Operator, operands: Values) -> Values:
    x, kernel, *bias = real(operator, operands, min(max(len(operands), 2), 3))
    filters, _, _, width = kernel.shape
    groups = x.shape[-1] // max(width, 1)
    if width * groups != x.shape[-1] or not groups or filters % groups:
        raise misfit(operator, f"it has {x.shape[-1]} channels and kernels of {width}")
    cut, _ = _windows(operator, x, kernel.shape[1:3], 0.0)
    parts = [
        np.einsum("nyxchw,fhwc->nyxf", part, own)
        for part, own in zip(np.split(cut, groups, 3), np.split(kernel, groups, 0), strict=True)
    ]
    result = np.concatenate(parts, -1) + (bias[0] if bias else 0)
    return [activate(operator, result)]


def _depthwise_convolution(operator: Operator, operands: Values) -> Values:
    x, kernel, *bias = real(operator, operands, min(max(len(operands), 2), 3))
    _, high, wide, outputs = kernel.shape
    multiplier = outputs // x.shape[-1]
    cut, _ = _windows(operator, x, (high, wide), 0.0)
    own = kernel[0].reshape(high, wide, x.shape[-1], multiplier)
    result = np.einsum("nyxchw,hwcm->nyxcm", cut, own)
    result = result.reshape(*result.shape[:3], outputs) + (bias[0] if bias else 0)
    return [activate(operator, result)]


def _largest(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    sizes = operator.options["filter_h"], operator.options["filter_w"]
    cut, _ = _windows(operator, x, [int(size) for size in sizes], -np.inf)
    return [activate(operator, cut.max((-2, -1)))]


def _average(operator: Operator, operands: Values) -> Values:
    (x,) = real(operator, operands, 1)
    sizes = [int(operator.options["filter_h"]), int(operator.options["filter_w"])]
    cut, _ = _windows(operator, x, sizes, 0.0)
    inside, _ = _windows(operator, np.ones((1, *x.shape[1:3], 1)), sizes, 0.0)
    return [activate(operator, cut.sum((-2, -1)) / inside.sum((-2, -1)))]


def transposed_windows(
    operator: Operator, given: Sequence[int], sizes: Sequence[int]
) -> tuple[Window, Window]:
    """Return how TRANSPOSE_CONV's windows lie over its output of shape ``given``."""
    return (
        window(operator, given[1], int(sizes[0]), "h"),
        window(operator, given[2], int(sizes[1]), "w"),
    )


def _transposed_convolution(operator: Operator, operands: Values) -> Values:
    shape, kernel, x, *bias = operands
    given = indices(operator, shape)
    real(operator, (kernel, x, *bias), 2 + min(len(bias), 1))
    if len(given) != 4 or x.ndim != 4 or kernel.ndim != 4:
        raise misfit(operator, "its tensors do not have 4 axes")
    if min(given) < 1 or math.prod(given) > SIZE_LIMIT:
        raise misfit(operator, f"its output has the shape {given}")
    high, wide = transposed_windows(operator, given, kernel.shape[1:3])
    rows, height, width, _ = x.shape
    full = np.zeros(
        (
            rows,
            (height - 1) * high.stride + high.size,
            (width - 1) * wide.stride + wide.size,
            kernel.shape[0],
        )
    )
    for y in range(high.size):
        for z in range(wide.size):
            full[
                :,
                y : y + height * high.stride : high.stride,
                z : z + width * wide.stride : wide.stride,
            ] += x @ kernel[:, y, z].T
    around = [
        (0, 0),
        (0, max(0, given[1] + high.before - full.shape[1])),
        (0, max(0, given[2] + wide.before - full.shape[2])),
        (0, 0),
    ]
    result = np.pad(full, around)[
        :, high.before : high.before + given[1], wide.before : wide.before + given[2]
    ]
    return [activate(operator, result + (bias[0] if bias else 0))]


def _of_convolution(operator: Operator, shape: ShapeOf) -> int:
    return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:])


def _of_depthwise_convolution(operator: Operator, shape: ShapeOf) -> int:
    return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:3])


def _of_transposed_convolution(operator: Operator, shape: ShapeOf) -> int:
    filters, high, wide, _ = shape(operator.inputs[1])
    return math.prod(shape(operator.inputs[2])) * filters * high * wide


def _pad(operator: Operator, operands: Values) -> Values:
    x, around = operands
    if around.shape != (x.ndim, 2) or around.dtype.kind != "i" or around.min() < 0:
        raise misfit(operator, "its padding does not fit its input")
    if np.prod(around.sum(1) + np.array(x.shape)) > SIZE_LIMIT:
        raise misfit(operator, "its output is too large")
    return [np.pad(x, around)]


def source_places(operator: Operator, before: int, after: int) -> Array:
    """Return where along an axis each place of a resized image comes from, in real numbers."""
    places = np.arange(after, dtype=np.float64)
    if operator.options["align_corners"] and after > 1:
        return np.asarray(places * (before - 1) / (after - 1))
    if operator.options["half_pixel"]:
        return np.asarray((places + 0.5) * before / after - 0.5)
    return np.asarray(places * before / after)


def _nearest(operator: Operator, x: Array, sizes: Sequence[int]) -> Array:
    for axis, after in zip((1, 2), sizes, strict=True):
        before = x.shape[axis]
        places = source_places(operator, before, after)
        aligned = operator.options["align_corners"]
        half = 0.5 if aligned or operator.options["half_pixel"] else 0.0
        chosen = np.clip(np.floor(places + half), 0, before - 1).astype(int)
        x = x.take(chosen, axis)
    return x


def _bilinear(operator: Operator, x: Array, sizes: Sequence[int]) -> Array:
    for axis, after in zip((1, 2), sizes, strict=True):
        before = x.shape[axis]
        places = np.clip(source_places(operator, before, after), 0, before - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape((1,) * axis + (-1,) + (1,) * (3 - axis))
        high = np.minimum(low + 1, before - 1)
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def _resize(function: Callable[[Operator, Array, Sequence[int]], Array]) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        x, sizes = operands
        wanted = indices(operator, sizes)
        if x.ndim != 4 or len(wanted) != 2 or not 0 < math.prod(wanted) <= SIZE_LIMIT // 64:
            raise misfit(operator, f"it resizes {x.ndim} axes to {wanted[:4]}")
        return [function(operator, x, wanted)]

    return compute


ROWS = (
    OperatorRow(
        "AVERAGE_POOL_2D", 3, _average, _POOLING, versions=integers(2, 3), grid=Grid.PASSED
    ),
    OperatorRow(
        "CONV_2D",
        8,
        _convolution,
        _CONVOLUTION,
        optional_inputs=True,
        matrix=1,
        bias=2,
        versions=integers(3, 4),
        multiply_adds=_of_convolution,
    ),
    OperatorRow(
        "DEPTHWISE_CONV_2D",
        7,
        _depthwise_convolution,
        _DEPTHWISE,
        optional_inputs=True,
        matrix=1,
        bias=2,
        channel_axis=3,
        versions=integers(3, 5),
        multiply_adds=_of_depthwise_convolution,
    ),
    OperatorRow("MAX_POOL_2D", 3, _largest, _POOLING, versions=integers(2, 3), grid=Grid.PASSED),
    OperatorRow("PAD", 4, _pad, versions=integers(2), grid=Grid.PASSED),
    OperatorRow(
        "RESIZE_BILINEAR",
        4,
        _resize(_bilinear),
        _BILINEAR,
        versions=integers(2, 4),
        grid=Grid.PASSED,
    ),
    OperatorRow(
        "RESIZE_NEAREST_NEIGHBOR",
        4,
        _resize(_nearest),
        _NEAREST,
        versions=integers(2, 4),
        grid=Grid.PASSED,
    ),
    OperatorRow(
        "TRANSPOSE_CONV",
        5,
        _transposed_convolution,
        _TRANSPOSED,
        optional_inputs=True,
        source=2,
        matrix=1,
        bias=3,
        versions=integers(2),
        multiply_adds=_of_transposed_convolution,
    ),
)
