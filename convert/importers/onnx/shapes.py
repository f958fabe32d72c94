"""Operators that move values: shapes, axes, joins and cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from convert.importers.onnx.constants import check_size
from convert.importers.onnx.elementwise import one_step, same_frames
from convert.importers.onnx.value import Call, Frames, Plan, Value, front, stateless
from convert.layers.layer_rule import Joined, joined


def _reshaped(call: Call, whole: list[int]) -> Plan:
    """Plan a change to a shape that holds for a whole sequence."""
    value = call.value()
    if value.axis is None:
        return _made(value, whole, None)
    before = value.full_shape(call.steps)
    length = before[value.axis]
    ahead = math.prod(before[: value.axis])
    axis = next(
        (
            place
            for place, size in enumerate(whole)
            if size == length and math.prod(whole[:place]) == ahead
        ),
        None,
    )
    if axis is None:
        raise call.refusal(
            f"mixes time with other axes ({_text(before, value.axis)} becomes {whole}), which one "
            "step cannot do"
        )
    step = [1 if place == axis else size for place, size in enumerate(whole)]
    target = tuple(-1 if place == axis else size for place, size in enumerate(whole))
    return _made(value, step, axis, target=target)


def _made(value: Value, step: Sequence[int], axis: int | None, **facts: Any) -> Plan:
    """Plan a change of shape to ``step`` in one step."""
    rank = len(value.shape)
    # Where the last axis stays, values still to be joined along it stay apart.
    apart = rank > 0 and len(step) > 0 and step[-1] == value.shape[-1]

    def compute(x: Any, *_: Any) -> Any:
        if isinstance(x, Joined):
            return Joined(tuple(compute_one(part, int(part.shape[-1])) for part in x.parts))
        return compute_one(x, step[-1] if step else 1)

    def compute_one(x: Any, width: int) -> Any:
        return tf.reshape(x, (*front(x, rank), *step[:-1], *([width] if step else [])))

    facts = {"frames": value.frames, "takes_deferred": apart, **facts}
    return stateless(compute, axis, **facts, rowwise=True)


def _text(shape: tuple[int, ...], axis: int) -> str:
    sizes = ["time" if place == axis else str(size) for place, size in enumerate(shape)]
    return f"[{', '.join(sizes)}]"


def reshape(call: Call) -> Plan:
    """Change the shape."""
    given = call.integers("shape", 1)
    if given is None:
        raise call.refusal("has no shape")
    before = call.value().full_shape(call.steps)
    keep_zero = bool(call.attribute("allowzero", 0))
    whole = [
        before[place] if size == 0 and not keep_zero else size for place, size in enumerate(given)
    ]
    if -1 in whole:
        rest = math.prod(size for size in whole if size != -1)
        whole[whole.index(-1)] = math.prod(before) // max(rest, 1)
    if math.prod(whole) != math.prod(before):
        raise call.refusal(f"cannot make {whole} of {list(before)}")
    return _reshaped(call, whole)


def flatten(call: Call) -> Plan:
    """Make a matrix of a value."""
    before = call.value().full_shape(call.steps)
    axis = call.attribute("axis", 1)
    axis = axis if axis >= 0 else axis + len(before)
    return _reshaped(call, [math.prod(before[:axis]), math.prod(before[axis:])])


def squeeze(call: Call) -> Plan:
    """Remove axes of size 1."""
    value = call.value()
    before = value.full_shape(call.steps)
    axes = call.integers("axes", 1)
    if axes is None:
        gone = {place for place, size in enumerate(before) if size == 1}
    else:
        gone = {call.axis_of(axis) for axis in axes}
    if any(before[place] != 1 for place in gone):
        raise call.refusal("removes an axis of more than one value")
    step = [size for place, size in enumerate(value.shape) if place not in gone]
    axis = value.axis
    if axis is not None:
        axis -= sum(place < axis for place in gone)
    return _made(value, step, axis)


def unsqueeze(call: Call) -> Plan:
    """Add axes of size 1."""
    value = call.value()
    axes = call.integers("axes", 1) or []
    rank = len(value.shape) + len(axes)
    added = {call.axis_of(axis, rank) for axis in axes}
    sizes = iter(value.shape)
    step = [1 if place in added else next(sizes) for place in range(rank)]
    axis = value.axis
    if axis is not None:
        axis = [place for place in range(rank) if place not in added][axis]
    return _made(value, step, axis)


def transpose(call: Call) -> Plan:
    """Reorder the axes; a reshape does where only axes of size 1 move."""
    value = call.value()
    order = [int(n) for n in call.attribute("perm", list(range(len(value.shape)))[::-1])]
    axis = None if value.axis is None else order.index(value.axis)
    wide = [place for place in order if value.shape[place] != 1]
    if wide == sorted(wide):
        return _made(value, [value.shape[place] for place in order], axis)

    apart = order[-1] == len(order) - 1

    def compute(x: Any) -> Any:
        if isinstance(x, Joined):
            return Joined(tuple(map(compute, x.parts)))
        lead = len(front(x, len(order)))
        return tf.transpose(x, [*range(lead), *(place + lead for place in order)])

    return stateless(compute, axis, frames=value.frames, rowwise=True, takes_deferred=apart)


def expand(call: Call) -> Plan:
    """Repeat along axes of size 1."""
    value = call.value()
    given = [int(n) for n in call.constant(1).ravel()]
    check_size(call, given)
    rank = max(len(given), len(value.shape))
    axis = None if value.axis is None else value.axis + rank - len(value.shape)
    if axis is not None and len(given) >= rank - axis:
        given[axis - rank] = 1
    shape = list(np.broadcast_shapes(tuple(given), value.shape))
    return stateless(lambda x, _: tf.broadcast_to(x, shape), axis, frames=value.frames)


def tile(call: Call) -> Plan:
    """Repeat a value along its axes."""
    value = call.value()
    times = [int(n) for n in call.constant(1).ravel()]
    check_size(call, [n * m for n, m in zip(times, value.shape, strict=True)])
    if value.axis is not None and times[value.axis] != 1:
        raise call.refusal("repeats the steps of the sequence")
    return stateless(lambda x, _: tf.tile(x, times), value.axis, frames=value.frames)


def concat(call: Call) -> Plan:
    """Join values; a product after it may take the parts one by one."""
    axis = call.axis_of(int(call.attribute("axis", 1)))
    timed = [value for _, value in call.varying() if value.axis is not None]
    operands = {}
    time, frames = None, Frames()
    if timed:
        time = timed[0].axis
        if axis == time or any(value.axis != time for value in timed):
            raise call.refusal(
                "joins along time; a stream keeps what came before as a state: give the network "
                "as a step with that state, or pad with zeros in front of a convolution"
            )
        frames = same_frames(call, timed)
        for position, value in enumerate(call.values):
            if value is None or value.axis is not None or value.shape[time or 0] == 1:
                continue
            if value.constant is None:
                raise call.refusal("joins a step with a value that has another number of steps")
            operands[position] = one_step(call, value.constant, time or 0)
    rank = len(call.value().shape)
    last = axis == rank - 1
    known = not call.varying()

    def compute(parts: tuple[Any, ...], states: Any) -> Any:
        given = _of_equal_rank([part for part in parts if part is not None], rank)
        if known:
            return (tf.concat([_tensor(part) for part in given], axis),), ()
        if not last:
            return (joined([_tensor(part) for part in given], axis - rank),), ()
        flat: list[Any] = []
        for part in given:
            flat += part.parts if isinstance(part, Joined) else [tf.convert_to_tensor(part)]
        return (Joined(tuple(flat)) if len(flat) > 1 else flat[0],), ()

    return Plan(compute, (time,), frames, operands=operands, takes_deferred=True, rowwise=True)


def _of_equal_rank(parts: list[Any], rank: int) -> list[Any]:
    """Give all parts an axis of rows in front, if one has it."""
    tensors = [part for one in parts for part in (one.parts if isinstance(one, Joined) else (one,))]
    if all(len(tensor.shape) == rank for tensor in tensors):
        return parts

    def one(tensor: Any) -> Any:
        return tensor if len(tensor.shape) > rank else tf.reshape(tensor, (1, *tensor.shape))

    return [
        Joined(tuple(map(one, part.parts))) if isinstance(part, Joined) else one(part)
        for part in parts
    ]


def _tensor(value: Any) -> Any:
    if isinstance(value, Joined):
        return joined(value.parts)
    return tf.convert_to_tensor(value)


def split(call: Call) -> Plan:
    """Cut a value into parts along an axis."""
    value = call.value()
    axis = call.axis_of(int(call.attribute("axis", 0)))
    if axis == value.axis:
        raise call.refusal("cuts the sequence into parts")
    rank = len(value.shape)
    sizes = call.integers("split", 1)
    if sizes is None:
        count = int(call.attribute("num_outputs", len(call.node.outputs)))
        width = -(-value.shape[axis] // count)
        sizes = [width] * (count - 1) + [value.shape[axis] - width * (count - 1)]

    def compute(operands: tuple[Any, ...], states: Any) -> Any:
        even = len(sizes) if len(set(sizes)) == 1 else sizes
        return tf.split(operands[0], even, axis - rank), ()

    return Plan(compute, (value.axis,) * len(sizes), value.frames, rowwise=True)


def cut(call: Call) -> Plan:
    """Take a range along axes: Slice. Along time, all of it, its end, or without its ends."""
    value = call.value()
    starts, ends = call.integers("starts", 1) or [], call.integers("ends", 2) or []
    axes = call.integers("axes", 3) or list(range(len(starts)))
    strides = call.integers("steps", 4) or [1] * len(starts)
    before = value.full_shape(call.steps)
    ranges = [slice(None)] * len(before)
    frames, axis, sums_up = value.frames, value.axis, False
    for start, end, place, stride in zip(starts, ends, axes, strides, strict=True):
        place = call.axis_of(place)
        found = slice(start, None if stride < 0 and end < -before[place] else end, stride)
        if place != value.axis:
            # An end far beyond the last value would not fit into TFLite's 32 bits.
            first, last, stride = found.indices(before[place])
            ranges[place] = slice(first, None if last < 0 else last, stride)
            if ranges[place] == slice(0, before[place], 1):
                ranges[place] = slice(None)
            continue
        first, last, stride = found.indices(before[place])
        if stride < 1 or last <= first:
            raise call.refusal("takes steps backwards, or none")
        dropped = before[place] - last
        if last - first == 1 and dropped * frames.period == frames.right and call.steps > 1:
            axis, sums_up, frames = None, True, Frames()
        else:
            frames = _cut_in_time(call, frames, first, dropped, stride)
    taken = [found for found in ranges if found != slice(None)]
    sliced = tuple(ranges)

    def compute(x: Any, *_: Any) -> Any:
        x = tf.convert_to_tensor(x)
        rows = (slice(None),) * len(front(x, len(sliced)))
        return x[rows + sliced] if taken else tf.identity(x)

    return stateless(compute, axis, frames=frames, sums_up=sums_up, rowwise=True)


def _cut_in_time(call: Call, frames: Frames, first: int, dropped: int, stride: int) -> Frames:
    """Say how frames lie along time after a cut; ``first`` and ``dropped`` are left out."""
    period = frames.period
    found = frames.cut_off(first)
    found = found._replace(right=frames.right - dropped * period, period=period * stride)
    if stride > 1 and (found.front or found.right):
        raise call.refusal("takes every so manieth step of a sequence that was padded")
    return found


def gather(call: Call) -> Plan:
    """Take by number along an axis; rows of a constant table by token ids."""
    table, numbers = call.value(0), call.value(1)
    axis = call.axis_of(int(call.attribute("axis", 0)))
    if table.constant is not None and numbers.constant is None:
        time = None if numbers.axis is None else numbers.axis + axis
        rows = table.constant
        return stateless(
            lambda _, ids: tf.gather(rows, tf.cast(ids, tf.int32), axis=axis), time,
            frames=numbers.frames,
        )  # fmt: skip
    chosen = np.asarray(call.constant(1))
    length = table.full_shape(call.steps)[axis]
    chosen = np.where(chosen < 0, chosen + length, chosen)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= length):
        raise call.refusal("takes a row that is not there")
    time = table.axis
    if time == axis:
        return _one_frame(call, table, chosen, length)
    if time is not None and time > axis:
        time += chosen.ndim - 1
    rank = len(table.shape)

    def compute(x: Any, _: Any) -> Any:
        if chosen.ndim == 0:
            # A slice: every integer runtime has it. A GPU has none that takes an axis away.
            place, sizes = axis + len(front(x, rank)), [int(size) for size in x.shape]
            only = slice(int(chosen), int(chosen) + 1)
            cut = x if sizes[place] == 1 else x[(slice(None),) * place + (only,)]
            return tf.reshape(cut, sizes[:place] + sizes[place + 1 :])
        return tf.gather(x, chosen.astype(np.int32), axis=axis - rank)

    return stateless(compute, time, frames=table.frames, rowwise=True)


def _one_frame(call: Call, value: Value, chosen: Any, length: int) -> Plan:
    """Take the last step of a sequence."""
    ahead = value.frames.right // value.frames.period
    if chosen.size != 1 or int(chosen.ravel()[0]) != length - 1 - ahead:
        raise call.refusal("takes steps of the sequence that are not its last one")
    shape = list(value.shape)
    axis = value.axis or 0
    shape[axis : axis + 1] = chosen.shape
    return _made(value, shape, None, frames=Frames(), sums_up=True)


ROWS = {
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Reshape": reshape,
    "Slice": cut,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
