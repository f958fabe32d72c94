"""The operator that puts values around another: Pad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from convert.importers.onnx.constants import check_size
from convert.importers.onnx.elementwise import Rule
from convert.importers.onnx.value import Call, Plan, stateless


def pad(call: Call) -> Plan:
    """Add zeros or other values around; along time, zeros at the start."""
    value = call.value()
    given = call.integers("pads", 1) or []
    axes = call.integers("axes", 3) or list(range(len(value.shape)))
    axes = [call.axis_of(axis) for axis in axes]
    mode = call.attribute("mode", "constant")
    filler = 0.0
    if call.optional(2) is not None:
        filler = float(np.asarray(call.constant(2)).ravel()[0])
    filler = float(call.attribute("value", filler))
    sides = [[0, 0] for _ in value.shape]
    for place, axis in enumerate(axes):
        sides[axis] = [given[place], given[place + len(axes)]]
    frames = value.frames
    if value.axis is not None and any(sides[value.axis]):
        left, right = sides[value.axis]
        zeros = mode == "constant" and filler == 0 and (not frames.front or frames.zeros)
        frames = (
            frames.cut_off(-left)
            if left < 0
            else frames._replace(
                left=frames.left + left * frames.period,
                front=frames.front + left * frames.period,
                zeros=zeros,
            )
        )
        frames = frames._replace(right=frames.right + right * frames.period)
        sides[value.axis] = [0, 0]
    check_size(call, [size + sum(side) for size, side in zip(value.shape, sides, strict=True)])
    return stateless(_padding(call, sides, mode, filler), value.axis, frames=frames)


def _padding(call: Call, sides: list[list[int]], mode: str, filler: float) -> Callable[..., Any]:
    """Pad axes by joins and cuts, which every integer runtime has."""
    if mode not in ("constant", "reflect", "edge"):
        raise call.refusal(f"pads with mode '{mode}'")

    def compute(x: Any, *_: Any) -> Any:
        x = tf.convert_to_tensor(x)
        for axis, (before, after) in enumerate(sides):
            size = int(x.shape[axis])
            ahead = (slice(None),) * axis
            if before < 0 or after < 0:
                x = x[(*ahead, slice(max(-before, 0), size - max(-after, 0)))]
            parts = [x]
            if mode == "constant":
                for extra, place in ((before, 0), (after, len(parts))):
                    if extra > 0:
                        shape = [extra if at == axis else int(n) for at, n in enumerate(x.shape)]
                        parts.insert(place if place == 0 else len(parts), _full(x, shape, filler))
            else:
                first = [x[(*ahead, slice(n, n + 1))] for n in _mirrored(before, mode)]
                last = [x[(*ahead, slice(size - 1 - n, size - n))] for n in _mirrored(after, mode)]
                parts = [*reversed(first), x, *last]
            x = tf.concat(parts, axis) if len(parts) > 1 else parts[0]
        return x

    return compute


def _mirrored(count: int, mode: str) -> list[int]:
    """Return how far from the edge the values beyond it are taken, outwards."""
    return [number + 1 if mode == "reflect" else 0 for number in range(max(count, 0))]


def _full(x: Any, shape: list[int], filler: float) -> Any:
    return tf.constant(np.full(shape, filler), x.dtype)


ROWS: dict[str, Rule] = {"Pad": pad}
