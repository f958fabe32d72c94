"""Convolutions and pooling: over time through a state, on one frame by cuts and one product.

Every runtime has the operators of a cut, a join and a product in integers, which it may not have
of a convolution. So a window's taps are cut out and joined, and multiplied with the kernel as a
matrix.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from calibration.ranges import NOTHING_YET
from convert.importers.onnx.elementwise import Rule
from convert.importers.onnx.value import Call, Frames, Plan, Value
from convert.layers.layer_rule import State, in_rows


@dataclass(frozen=True)
class Window:
    """How a kernel moves along one axis: its taps, and zeros before, after and between values."""

    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    spread: int = 1

    @property
    def reach(self) -> int:
        """How far the first tap is from the last."""
        return (self.size - 1) * self.dilation


def _windows(call: Call, value: Value, size: Sequence[int]) -> list[Window]:
    """Read the attributes of a convolution or pooling."""
    count = len(size)
    strides = call.attribute("strides", [1] * count)
    dilations = call.attribute("dilations", [1] * count)
    pads = call.attribute("pads", [0] * 2 * count)
    auto = call.attribute("auto_pad", "NOTSET")
    found = []
    for place in range(count):
        before, after = pads[place], pads[place + count]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            length = value.shape[2 + place]
            reach, stride = (size[place] - 1) * dilations[place], strides[place]
            if value.axis == 2 + place:
                total = reach
            else:
                total = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
            before = (total + (auto == "SAME_LOWER")) // 2
            after = total - before
        elif auto == "VALID":
            before = after = 0
        found.append(Window(size[place], strides[place], dilations[place], before, after))
    return found


def convolution(call: Call) -> Plan:
    """Conv in one or two (or three) dimensions."""
    value = call.value()
    weights = np.asarray(call.constant(1), np.float32)
    # [filters, channels / groups, *size] -> [*size, channels / groups, filters]
    kernel = np.moveaxis(weights, (0, 1), (-1, -2))
    windows = _windows(call, value, weights.shape[2:])
    bias = call.constant(2) if call.optional(2) is not None else None
    return _convolved(call, kernel, bias, windows, int(call.attribute("group", 1)))


def transposed_convolution(call: Call) -> Plan:
    """ConvTranspose as a convolution over values with zeros between them."""
    value = call.value()
    weights = np.asarray(call.constant(1), np.float32)
    groups, rank = int(call.attribute("group", 1)), weights.ndim - 2
    # [channels, filters / groups, *size], taps in the other order
    kernel = np.moveaxis(weights, (0, 1), (-2, -1))[(slice(None, None, -1),) * rank]
    if groups > 1:
        # [*size, channels, filters / groups] -> [*size, channels / groups, filters]
        parts = np.split(kernel, groups, -2)
        kernel = np.concatenate(parts, -1)
    extra = call.attribute("output_padding", [0] * rank)
    if call.attribute("output_shape") is not None or call.attribute("auto_pad", "NOTSET") not in (
        "NOTSET", "VALID",
    ):  # fmt: skip
        raise call.refusal("has a computed padding; export it with explicit pads")
    windows = [
        Window(
            one.size, 1, one.dilation, one.reach - one.before,
            one.reach - one.after + extra[place], one.stride,
        )
        for place, one in enumerate(_windows(call, value, weights.shape[2:]))
    ]  # fmt: skip
    bias = call.constant(2) if call.optional(2) is not None else None
    return _convolved(call, np.ascontiguousarray(kernel), bias, windows, groups)


def _convolved(
    call: Call,
    kernel: NDArray[Any],
    bias: NDArray[Any] | None,
    windows: list[Window],
    groups: int,
) -> Plan:
    """Plan a convolution with a kernel [*size, channels / groups, filters]."""
    value = call.value()
    if len(value.shape) != len(windows) + 2:
        raise call.refusal(f"has a kernel that does not fit a value with {len(value.shape)} axes")
    if value.axis == 1:
        raise call.refusal("has time as its channels")
    channels, filters = value.shape[1], kernel.shape[-1]
    depthwise = groups == channels == filters and groups > 1
    if not depthwise and groups > 1:
        kernel, groups = _ungrouped(kernel, groups), 1
    rank = len(value.shape)
    # Channels last.
    order = [0, *range(2, rank), 1]
    back = [0, rank - 1, *range(1, rank - 1)]
    time = None if value.axis in (None, 0) else value.axis - 2
    frames, look = value.frames, _now
    states: tuple[State, ...] = ()
    if time is not None:
        frames, states = _over_time(call, value, windows[time])
        look = functools.partial(_looked_back, windows[time], time + 1)

    def compute(operands: tuple[Any, ...], old: Any) -> Any:
        given, lead = _as_batch(operands[0], rank, old)
        taps, new = look(_ordered(given, order), old)
        parts = [
            cut
            for tap in taps
            for cut in _cuts(
                tap, [(1 + place, one) for place, one in enumerate(windows) if place != time]
            )
        ]
        # With time in front: a tap of time holds all taps of the other axes.
        result = _multiplied(parts, _in_order(kernel, time), depthwise)
        result = result if bias is None else result + np.asarray(bias, np.float32)
        return (_from_batch(_ordered(result, back), lead),), new

    return Plan(
        compute, (value.axis,), frames._replace(zeros=False), states=states,
        rowwise=value.shape[0] == 1,
        begins_anew=time is not None and not _fills(value, frames, windows[time]),
    )  # fmt: skip


def _as_batch(x: Any, rank: int, states: Any) -> tuple[Any, bool]:
    """Return a value with its rows, or those of the states, as its batch, and if it has any."""
    x = tf.convert_to_tensor(x)
    has_rows = len(x.shape) > rank
    x = tf.reshape(x, (int(x.shape[0]), *x.shape[2:])) if has_rows else x
    rows = int(states[0].shape[0]) if states else 1
    return (in_rows(x, rows) if rows > 1 else x), has_rows or rows > 1


def _from_batch(x: Any, has_rows: bool) -> Any:
    """Put the rows in front of a batch of one again."""
    return tf.reshape(x, (int(x.shape[0]), 1, *x.shape[1:])) if has_rows else x


def _fills(value: Value, frames: Frames, window: Window) -> bool:
    """Tell whether a window's first answer needs nothing from before the first frame."""
    return frames.delay - value.frames.delay >= window.reach * value.frames.period


def _in_order(kernel: NDArray[Any], time: int | None) -> NDArray[Any]:
    """Return the kernel as [taps, channels, filters], taps of time outermost."""
    kernel = kernel if time is None else np.moveaxis(kernel, time, 0)
    return kernel.reshape(-1, *kernel.shape[-2:])


def _ungrouped(kernel: NDArray[Any], groups: int) -> NDArray[Any]:
    """Return a kernel [*size, channels / groups, filters] for all channels, 0 between groups."""
    width, each = kernel.shape[-2], kernel.shape[-1] // groups
    whole = np.zeros((*kernel.shape[:-2], width * groups, kernel.shape[-1]), np.float32)
    for group in range(groups):
        outputs = slice(group * each, (group + 1) * each)
        whole[..., group * width : (group + 1) * width, outputs] = kernel[..., outputs]
    return whole


def _ordered(x: Any, order: list[int]) -> Any:
    """Transpose; by a reshape where only axes of size 1 move."""
    sizes = [int(n) for n in x.shape]
    wide = [place for place in order if sizes[place] != 1]
    if wide == sorted(wide):
        return tf.reshape(x, [sizes[place] for place in order])
    return tf.transpose(x, order)


def _over_time(call: Call, value: Value, window: Window) -> tuple[Frames, tuple[State, ...]]:
    """Find where a window over time begins and ends, and what it keeps."""
    if window.spread != 1:
        raise call.refusal(
            f"gives {window.spread} frames for each step (its strides along time), where a step "
            "gives one"
        )
    given, period = value.frames, value.frames.period
    if given.front and not given.zeros and window.reach:
        raise call.refusal(
            "looks back at frames before the first one that are not 0; pad each convolution at its "
            "own start"
        )
    front = given.front + (window.before - window.reach) * period
    frames = Frames(
        given.left + (window.before - window.reach) * period,
        given.right + window.after * period,
        False,
        period * window.stride,
        max(front, 0),
    )
    if window.stride > 1 and (frames.front or frames.right > 0):
        raise call.refusal(
            f"has strides {window.stride} along time, and more zeros around than (size - 1) * "
            "dilation at the start; pad it there alone"
        )
    size = math.prod(value.shape)
    states = (State("past", (window.reach * size,)),) if window.reach else ()
    return frames, states


def _now(x: Any, states: Any) -> tuple[list[Any], tuple[Any, ...]]:
    return [x], ()


def _looked_back(window: Window, axis: int, x: Any, states: Any) -> tuple[list[Any], Any]:
    """Return the frames under a window's taps, and the new past."""
    if not window.reach:
        return [x], ()
    shape = [int(n) for n in x.shape]
    rows = int(states[0].shape[0])
    size = math.prod(shape) // rows
    row = tf.concat([states[0], tf.reshape(x, (rows, size))], -1)
    starts = range(0, window.reach + 1, window.dilation)
    taps = [tf.reshape(row[:, n * size : (n + 1) * size], shape) for n in starts]
    return taps, (row[:, size:],)


def _cuts(x: Any, windows: list[tuple[int, Window]], filler: float = 0.0) -> list[Any]:
    """Cut the values under each tap out of a frame, first axis outermost."""
    for axis, one in windows:
        x = _spread(x, axis, one, filler)
    starts = []
    for axis, one in windows:
        count = (int(x.shape[axis]) - one.reach - 1) // one.stride + 1
        starts.append([
            (axis, slice(n * one.dilation, n * one.dilation + (count - 1) * one.stride + 1,
                         one.stride))
            for n in range(one.size)
        ])  # fmt: skip
    found = []
    for chosen in itertools.product(*starts):
        ranges = [slice(None)] * len(x.shape)
        for axis, part in chosen:
            if part != slice(0, int(x.shape[axis]), 1):
                ranges[axis] = part
        found.append(x[tuple(ranges)] if any(r != slice(None) for r in ranges) else x)
    return found


def _spread(x: Any, axis: int, window: Window, filler: float) -> Any:
    """Put zeros between the values along an axis, and around them."""

    def zeros(shape: list[int]) -> Any:
        return tf.constant(np.full(shape, filler, np.float32))

    shape = [int(n) for n in x.shape]
    if window.spread > 1 and shape[axis] > 1:
        wide = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        gap = [*wide[: axis + 1], window.spread - 1, *wide[axis + 2 :]]
        x = tf.concat([tf.reshape(x, wide), zeros(gap)], axis + 1)
        shape[axis] *= window.spread
        x = tf.reshape(x, shape)
        kept = shape[axis] - window.spread + 1
        x = x[(slice(None),) * axis + (slice(0, kept),)]
        shape[axis] = kept
    before, after = window.before, window.after
    if min(before, after) < 0:
        x = x[(slice(None),) * axis + (slice(max(-before, 0), shape[axis] - max(-after, 0)),)]
        shape[axis] = int(x.shape[axis])
    parts = [x]
    if before > 0:
        parts.insert(0, zeros([*shape[:axis], before, *shape[axis + 1 :]]))
    if after > 0:
        parts.append(zeros([*shape[:axis], after, *shape[axis + 1 :]]))
    return tf.concat(parts, axis) if len(parts) > 1 else x


def _multiplied(parts: list[Any], kernel: NDArray[Any], depthwise: bool) -> Any:
    """Multiply taps [..., channels] with a kernel [taps, channels, filters] and sum."""
    if depthwise:
        weighted = [part * tap.reshape(-1) for part, tap in zip(parts, kernel, strict=True)]
        return functools.reduce(tf.add, weighted)
    shape = [int(n) for n in parts[0].shape]
    filters = kernel.shape[-1]
    joined = tf.concat(parts, -1) if len(parts) > 1 else parts[0]
    matrix = np.ascontiguousarray(kernel.reshape(-1, filters), np.float32)
    result = tf.matmul(tf.reshape(joined, (-1, len(matrix))), matrix)
    return tf.reshape(result, (*shape[:-1], filters))


def pooling(call: Call) -> Plan:
    """MaxPool and AveragePool, also over time."""
    value = call.value()
    size = call.attribute("kernel_shape")
    windows = _windows(call, value, size)
    largest = call.node.kind == "MaxPool"
    padded = any(one.before or one.after for one in windows)
    if value.axis == 1:
        raise call.refusal("has time as its channels")
    time = None if value.axis in (None, 0) else value.axis - 2
    if call.attribute("ceil_mode", 0) and any(
        time == place
        or (value.shape[2 + place] + one.before + one.after - one.reach - 1) % one.stride
        for place, one in enumerate(windows)
        if one.stride > 1
    ):
        raise call.refusal("pools windows that reach over the end (ceil_mode)")
    if padded and not largest and not call.attribute("count_include_pad", 0):
        raise call.refusal("averages fewer values at the edges (count_include_pad=0 with pads)")
    placed = [(2 + place, one) for place, one in enumerate(windows) if place != time]
    filler = -3.0e38 if largest else 0.0
    frames, look = value.frames, _now
    states: tuple[State, ...] = ()
    if time is not None:
        frames, states = _over_time(call, value, windows[time])
        look = functools.partial(_looked_back, windows[time], 2 + time)
        if largest and windows[time].before:
            # What is before the first frame is no value at all.
            states = tuple(
                replace(state, initial=np.full(state.shape, NOTHING_YET, np.float32))
                for state in states
            )

    def compute(operands: tuple[Any, ...], old: Any) -> Any:
        given, lead = _as_batch(operands[0], len(value.shape), old)
        taps, new = look(given, old)
        parts = [cut for tap in taps for cut in _cuts(tap, placed, filler)]
        result = functools.reduce(tf.maximum if largest else tf.add, parts)
        result = result if largest else result * (1 / len(parts))
        return (_from_batch(result, lead),), new

    return Plan(
        compute, (value.axis,), frames._replace(zeros=False), states=states,
        rowwise=value.shape[0] == 1,
        begins_anew=time is not None and not _fills(value, frames, windows[time]),
    )  # fmt: skip


ROWS: dict[str, Rule] = {
    "AveragePool": pooling,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MaxPool": pooling,
}
