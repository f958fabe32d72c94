"""Lower a step graph's operators on images to ONNX, which has the channels before the places.

Each function adds its nodes to an :class:`convert.exporters.onnx_graph.OnnxGraph`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convert.errors import NotExportableError
from convert.exporters.onnx_graph import OnnxGraph
from device_runner.model.flatbuffer import Operator
from device_runner.operators.images import Window, transposed_windows, window

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def _first(to: OnnxGraph, index: int) -> str:
    return to.add("Transpose", [to.name(index)], perm=CHANNELS_FIRST)


def _last(
    to: OnnxGraph, operator: Operator, kind: str, inputs: Sequence[str], **facts: Any
) -> None:
    """Add a node, put its channels last, and add the operator's fused activation."""
    result = to.add(kind, inputs, **facts)
    if "activation" in operator.options:
        to.add_activated(operator, "Transpose", [result], perm=CHANNELS_LAST)
    else:
        to.add("Transpose", [result], to.name(operator.outputs[0]), perm=CHANNELS_LAST)


def _weights(to: OnnxGraph, index: int, order: tuple[int, ...]) -> str:
    """Add the constant of a kernel with its axes in another order."""
    if index not in to.step.constants:
        raise NotExportableError(
            f"{to.model.path}: a convolution with a computed kernel has no ONNX form here"
        )
    return to.constant(to.step.constants[index].transpose(order), np.float32)


def _windows(
    to: OnnxGraph, operator: Operator, sizes: Sequence[int]
) -> tuple[tuple[Window, Window], dict[str, Any]]:
    _, height, width, _ = to.shape(operator.inputs[0])
    high = window(operator, height, int(sizes[0]), "h")
    wide = window(operator, width, int(sizes[1]), "w")
    return (high, wide), {
        "strides": [high.stride, wide.stride],
        "pads": [high.before, wide.before, high.after, wide.after],
        "kernel_shape": [high.size, wide.size],
    }


def _bias(to: OnnxGraph, indices: Sequence[int]) -> list[str]:
    return [to.name(index) for index in indices if index >= 0]


def convolution(to: OnnxGraph, operator: Operator) -> None:
    """Lower CONV_2D."""
    x, kernel, *bias = operator.inputs
    (high, wide), facts = _windows(to, operator, to.shape(kernel)[1:3])
    groups = to.shape(x)[-1] // to.shape(kernel)[-1]
    inputs = [_first(to, x), _weights(to, kernel, (0, 3, 1, 2)), *_bias(to, bias)]
    dilations = [high.dilation, wide.dilation]
    _last(to, operator, "Conv", inputs, group=groups, dilations=dilations, **facts)


def depthwise_convolution(to: OnnxGraph, operator: Operator) -> None:
    """Lower DEPTHWISE_CONV_2D."""
    x, kernel, *bias = operator.inputs
    (high, wide), facts = _windows(to, operator, to.shape(kernel)[1:3])
    inputs = [_first(to, x), _weights(to, kernel, (3, 0, 1, 2)), *_bias(to, bias)]
    dilations = [high.dilation, wide.dilation]
    groups = to.shape(x)[-1]
    _last(to, operator, "Conv", inputs, group=groups, dilations=dilations, **facts)


def transposed_convolution(to: OnnxGraph, operator: Operator) -> None:
    """Lower TRANSPOSE_CONV."""
    _, kernel, x, *bias = operator.inputs
    given = to.shape(operator.outputs[0])
    axes = transposed_windows(operator, given, to.shape(kernel)[1:3])
    pads, longer = [], []
    for axis, before, after in zip(axes, to.shape(x)[1:3], given[1:3], strict=True):
        # What is cut behind, or, if it is negative, what is missing there.
        behind = (before - 1) * axis.stride + axis.size - axis.before - after
        pads.append((axis.before, max(behind, 0)))
        longer.append(max(-behind, 0))
    inputs = [_first(to, x), _weights(to, kernel, (3, 0, 1, 2)), *_bias(to, bias)]
    _last(
        to,
        operator,
        "ConvTranspose",
        inputs,
        strides=[axis.stride for axis in axes],
        pads=[*(one[0] for one in pads), *(one[1] for one in pads)],
        output_padding=longer,
        kernel_shape=[axis.size for axis in axes],
    )


def pooling(kind: str) -> Callable[[OnnxGraph, Operator], None]:
    """Lower MAX_POOL_2D or AVERAGE_POOL_2D to a node of this kind."""

    def lower(to: OnnxGraph, operator: Operator) -> None:
        sizes = [int(operator.options[name]) for name in ("filter_h", "filter_w")]
        _, facts = _windows(to, operator, sizes)
        _last(to, operator, kind, [_first(to, operator.inputs[0])], **facts)

    return lower


def pad(to: OnnxGraph, operator: Operator) -> None:
    """Lower PAD."""
    x, around = operator.inputs
    pairs = to.step.constants[around]
    pads = to.constant(pairs.T.reshape(-1), np.int64)
    to.add("Pad", [to.name(x), pads], to.name(operator.outputs[0]))


def resize(mode: str) -> Callable[[OnnxGraph, Operator], None]:
    """Lower a RESIZE operator to a node of this mode."""

    def lower(to: OnnxGraph, operator: Operator) -> None:
        x, (output,) = operator.inputs[0], operator.outputs
        rows, height, width, channels = to.shape(output)
        aligned, half = operator.options["align_corners"], operator.options["half_pixel"]
        where = "align_corners" if aligned else "half_pixel" if half else "asymmetric"
        facts: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where}
        if mode == "nearest":
            facts["nearest_mode"] = "round_prefer_ceil" if aligned or half else "floor"
        sizes = to.constant((rows, channels, height, width), np.int64)
        _last(to, operator, "Resize", [_first(to, x), "", "", sizes], **facts)

    return lower
