"""What surrounds one step of a loop over time that was written out (:mod:`.rolled`)."""

from __future__ import annotations

import tensorflow as tf

from convert.importers.onnx.elementwise import Rule
from convert.importers.onnx.rolled import FRAME, FRAMES, LAST
from convert.importers.onnx.value import ALL_FRAMES, Call, Plan, stateless


def frame(call: Call) -> Plan:
    """Give the frame of a sequence that is there in this step."""
    value = call.at_frames(call.value())
    axis = call.axis_of(int(call.attribute("axis")))
    if value.axis != axis:
        raise call.refusal("reads a value one by one along another axis than time")
    if value.frames.place != ALL_FRAMES.place:
        raise call.refusal(
            "reads frames one by one that are fewer than the sequence's; pad the convolution "
            "before it with (size - 1) * dilation zeros at the start"
        )
    if not call.attribute("squeezed"):
        return stateless(lambda x: x, None, rowwise=True)
    shape = [size for place, size in enumerate(value.shape) if place != axis]
    return stateless(lambda x: tf.reshape(x, shape), None)


def frames(call: Call) -> Plan:
    """Give the sequence of a value of each step."""
    axis = call.axis_of(int(call.attribute("axis")))
    if call.value().shape[axis] != 1:
        raise call.refusal("joins several values of each step along the axis of time")
    return stateless(lambda x: x, axis, rowwise=True)


def last(call: Call) -> Plan:
    """Give a value of the last step."""
    return stateless(lambda x: x, None, rowwise=True, sums_up=True)


ROWS: dict[str, Rule] = {FRAME: frame, FRAMES: frames, LAST: last}
