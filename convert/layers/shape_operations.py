"""Step rules for operations along axes: sums, slices, joins and changes of shape.

A step has no time axis. What stays within one step's values can be stepped, and what takes the last
step, the mean, the sum or the largest of a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.layers.layer_rule import (
    Joined,
    LayerValues,
    Lookup,
    State,
    StepRule,
    in_float,
    plain,
    product,
    stateless,
)
from convert.layers.one_step import has_time, is_one_step
from convert.layers.operation_call import (
    OperationCall,
    Shape,
    Slot,
    step_axes,
    with_axes,
)
from convert.layers.windowed import running_mean

# Nearly the lowest value that float32 holds, but finite.
LOWEST = float(np.finfo(np.float32).min)
MIXES = (
    "which mixes time and channels; work on the last axis, or end the recurrence with its last step"
)


def _first(call: OperationCall) -> Shape:
    """Return the shape of the tensor that is worked on."""
    if not call.shapes:
        raise call.refused("has no tensor to work on")
    return call.shapes[0]


def _step_axis(call: OperationCall, shape: Shape, axis: Any) -> int | None:
    """Return where a step has a tensor's axis; None for the axis that it has not."""
    number = int(axis) % len(shape)
    if number == 0:
        raise call.refused("works along the batch axis; sequences must not mix")
    if not has_time(shape):
        return number
    return None if number == 1 else number - 1


def cast(call: OperationCall) -> StepRule:
    """Leave out a change between number formats: a step computes in one."""
    wanted = tf.as_dtype(call.option("dtype", default="float32"))
    if not wanted.is_floating:
        raise call.refused(f"makes {wanted.name} numbers; a step computes with real numbers")
    return stateless(lambda value: value)


def softmax(call: OperationCall) -> StepRule:
    """Compute a softmax over the last axis."""
    return _over_channels(call, tf.nn.softmax)


def log_softmax(call: OperationCall) -> StepRule:
    """Compute the logarithm of a softmax over the last axis."""
    return _over_channels(call, tf.nn.log_softmax)


def _over_channels(call: OperationCall, function: Callable[[Any], Any]) -> StepRule:
    shape, axis = _first(call), call.option("axis", default=-1)
    if int(axis) % len(shape) != len(shape) - 1 or (len(shape) == 2 and has_time(shape)):
        raise call.refused(
            f"runs along axis {axis}; along the last axis (channels) it can be stepped"
        )
    return stateless(function)


def _reduction(
    within: Callable[[tf.Tensor, list[int]], tf.Tensor], over_time: Callable[[int], StepRule] | None
) -> Callable[[OperationCall], StepRule]:
    """Make the rule of a sum, mean or extreme along axes.

    Args:
        within: of a step's value, along axes that are kept.
        over_time: the rule over all steps so far, from the number of channels.
    """

    def rule(call: OperationCall) -> StepRule:
        shape, out = _first(call), call.outputs[0]
        given = call.option("axis", "reduction_indices")
        if given is None:
            raise call.refused("works along all axes at once, the batch among them; name the axis")
        axes = given if isinstance(given, list | tuple) else [given]
        found = [_step_axis(call, shape, axis) for axis in axes]
        if None in found and has_time(shape) and not is_one_step():
            if len(found) > 1 or over_time is None or len(shape) != 3:
                raise call.refused(f"works along time and other axes together, {MIXES}")
            return over_time(int(shape[2] or 0))
        inside = [axis for axis in found if axis is not None]

        def step(value: tf.Tensor) -> tf.Tensor:
            result = within(value, inside) if inside else value
            return with_axes(result, out)

        return stateless(step)

    return rule


def _mean_of_steps(channels: int) -> StepRule:
    """Step the mean over all steps so far, as GlobalAveragePooling1D does."""
    return running_mean(None, SimpleNamespace(input_shapes=(None, None, channels)))


def _running(
    name: str, function: Callable[[Any, Any], Any], begin: float
) -> Callable[[int], StepRule]:
    def rule(channels: int) -> StepRule:
        @in_float
        def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
            found = function(states[0], inputs[0])
            return (found,), (found,)

        initial = np.full((channels,), begin, np.float32)
        return StepRule(
            step,
            (State(name, (channels,), initial=initial, in_float=True),),
            sums_up=True,
            float_only=f"the {name} of all steps so far has no bounds that integers could hold",
        )

    return rule


def _mean_within(value: tf.Tensor, axes: list[int]) -> tf.Tensor:
    count = math.prod(int(value.shape[axis]) for axis in axes)
    return tf.reduce_sum(value, axes, keepdims=True) * (1 / count)


def _variance_within(value: tf.Tensor, axes: list[int]) -> tf.Tensor:
    from_mean = value - _mean_within(value, axes)
    return _mean_within(from_mean * from_mean, axes)


mean = _reduction(_mean_within, _mean_of_steps)
variance = _reduction(_variance_within, None)
deviation = _reduction(lambda value, axes: tf.sqrt(_variance_within(value, axes)), None)
total = _reduction(
    lambda value, axes: tf.reduce_sum(value, axes, keepdims=True), _running("sum", tf.add, 0.0)
)
largest = _reduction(
    lambda value, axes: tf.reduce_max(value, axes, keepdims=True),
    _running("max", tf.maximum, LOWEST),
)
smallest = _reduction(
    lambda value, axes: tf.reduce_min(value, axes, keepdims=True),
    _running("min", tf.minimum, -LOWEST),
)


def _listed(call: OperationCall) -> list[int]:
    """Return the numbers of the tensors in a list, which is the first argument."""
    values = call.operands(1)[0]
    slots = values if isinstance(values, list | tuple) else [values]
    if not all(isinstance(item, Slot) for item in slots):
        raise call.refused("joins tensors with constants; join them with a layer's outputs alone")
    return [item.number for item in slots]


def concatenation(call: OperationCall) -> StepRule:
    """Join along an axis that is not time; a product after it takes channels part by part."""
    numbers, out = _listed(call), call.outputs[0]
    axis = _step_axis(call, out, call.option("axis", default=-1 if "tf." in call.function else 0))
    if axis is None:
        raise call.refused(f"joins along time, {MIXES}")
    for number in numbers:
        _check_time(call, call.shapes[number], out)

    def step(*tensors: Any) -> Any:
        if axis != 1 or len(step_axes(out)) != 1:
            return tf.concat([plain(tensors[number]) for number in numbers], axis)
        parts: list[Any] = []
        for number in numbers:
            value = tensors[number]
            value = plain(value) if isinstance(value, Lookup) else value
            parts += value.parts if isinstance(value, Joined) else [value]
        return Joined(tuple(parts))

    return stateless(step, takes_deferred=True)


def stacking(call: OperationCall) -> StepRule:
    """Join along a new axis that is not time."""
    numbers, out = _listed(call), call.outputs[0]
    axis = _step_axis(call, out, call.option("axis", default=0))
    if axis is None and len(numbers) == 1:
        return stateless(lambda value: with_axes(value, out))
    if axis is None:
        raise call.refused(f"stacks along time, {MIXES}")
    _check_time(call, call.shapes[0], out)
    place = axis

    def step(*tensors: Any) -> tf.Tensor:
        return tf.concat([tf.expand_dims(tensors[number], place) for number in numbers], place)

    return stateless(step)


def splitting(call: OperationCall) -> StepRule:
    """Cut along an axis that is not time; unstacking also takes the axis away."""
    shape = _first(call)
    axis = _step_axis(call, shape, call.option("axis", default=0))
    if axis is None:
        if len(call.outputs) != 1:
            raise call.refused(f"cuts along time, {MIXES}")
        return stateless(lambda value: with_axes(value, call.outputs[0]))
    place = axis
    full = place + 1 if has_time(shape) else place
    unstacks = any(len(out) < len(shape) for out in call.outputs)
    sizes = [1 if unstacks else int(out[full] or 0) for out in call.outputs]

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        parts = tf.split(inputs[0], sizes, place) if len(sizes) > 1 else [inputs[0]]
        pairs = zip(parts, call.outputs, strict=True)
        return tuple(with_axes(part, out) for part, out in pairs), ()

    return StepRule(step)


def slicing(call: OperationCall) -> StepRule:
    """Take channels, or the last step."""
    shape, out = _first(call), call.outputs[0]
    operands = call.operands(2)
    spec = operands[1] if len(operands) > 1 else ()
    entries = _entries(spec, len(shape))
    chosen: list[Any] = []
    last = False
    axis = 0
    for entry in entries:
        if entry is None:
            chosen.append(None)
            continue
        number, axis = axis, axis + 1
        if isinstance(entry, Slot) or not (isinstance(entry, slice) or np.ndim(entry) == 0):
            raise call.refused("takes places that the model computes; a step takes fixed ones")
        if number == 0:
            if entry != slice(None):
                raise call.refused("takes some of the batch; sequences must not mix")
            chosen.append(entry)
        elif number == 1 and has_time(shape):
            last = last or _takes_last(call, entry, shape[1])
        else:
            # A range of one value: a GPU has no slice that takes an axis away.
            only = slice(int(entry), int(entry) + 1 or None) if np.ndim(entry) == 0 and not (
                isinstance(entry, slice)) else entry  # fmt: skip
            chosen.append(only)

    def step(value: tf.Tensor) -> tf.Tensor:
        indices = tuple(item for item in chosen if item is not None)
        result = value if all(item == slice(None) for item in indices) else value[indices]
        return with_axes(result, out)

    return stateless(step, sums_up=last)


def _entries(spec: Any, rank: int) -> list[Any]:
    """Return one entry for each axis, and None for each new one."""
    given = list(spec) if isinstance(spec, list | tuple) else [spec]
    dots = [number for number, item in enumerate(given) if item is Ellipsis]
    taken = sum(item is not None and item is not Ellipsis for item in given)
    place = dots[0] if dots else len(given)
    return [*given[:place], *[slice(None)] * (rank - taken), *given[place + len(dots) :]]


def _takes_last(call: OperationCall, entry: Any, steps: int | None) -> bool:
    """Tell whether an entry for the time axis takes its last step, and not all of them.

    Raises:
        UnsupportedLayerError: it takes other steps.
    """
    if entry == slice(None) or (steps == 1 and entry in (0, -1, slice(0, 1), slice(-1, None))):
        return False
    if entry in (-1, slice(-1, None), slice(-1, None, 1), slice(-1, None, None)):
        return True
    raise call.refused(
        "takes steps of the sequence other than the last one, which a stream does not know; "
        "take y[:, -1]"
    )


def _check_time(call: OperationCall, shape: Shape, out: Shape) -> None:
    """Refuse what moves the time axis, or gives it to something else."""
    if is_one_step():
        return
    if has_time(shape) != has_time(out) or (
        has_time(shape) and any(size is None for size in out[2:])
    ):
        raise call.refused(f"makes {out} of {shape}, {MIXES}")


def reshaping(call: OperationCall) -> StepRule:
    """Give one step's values other axes."""
    shape, out = _first(call), call.outputs[0]
    _check_time(call, shape, out)
    if math.prod(step_axes(shape)) != math.prod(step_axes(out)):
        raise call.refused(f"makes {out} of {shape}, which mixes sequences; keep the batch axis")
    if step_axes(shape) == step_axes(out):
        return stateless(lambda value: value, takes_deferred=True)
    return stateless(lambda value: with_axes(value, out))


def transposing(call: OperationCall) -> StepRule:
    """Exchange axes other than those of batch and time."""
    shape, out = _first(call), call.outputs[0]
    given = call.option("perm", "axes")
    order = [int(axis) for axis in (given if given is not None else range(len(shape))[::-1])]
    if order[0] != 0:
        raise call.refused("exchanges the batch axis; keep it in front")
    _check_time(call, shape, out)
    if not has_time(shape):
        return stateless(lambda value: with_axes(tf.transpose(value, order), out))
    kept = [0, *(axis - 1 for axis in order[1:] if axis != 1)]

    def step(value: tf.Tensor) -> tf.Tensor:
        result = value if kept == sorted(kept) else tf.transpose(value, kept)
        return with_axes(result, out)

    return stateless(step)


def matrix_product(call: OperationCall) -> StepRule:
    """Multiply with a constant matrix."""
    first, second = call.operands(2)
    if isinstance(second, Slot) or not isinstance(first, Slot) or np.ndim(second) != 2:
        raise call.refused("multiplies other than with one constant matrix; use a Dense layer")
    if call.option("transpose_a") or call.option("adjoint_a"):
        raise call.refused("transposes its first factor; transpose the constant instead")
    matrix = np.asarray(second, np.float32)
    if call.option("transpose_b") or call.option("adjoint_b"):
        matrix = matrix.T
    if len(step_axes(call.shapes[0])) != 1:
        return stateless(lambda value: with_axes(_rows(value, matrix), call.outputs[0]))
    return stateless(lambda value: product(value, tf.constant(matrix)), takes_deferred=True)


def _rows(value: tf.Tensor, matrix: NDArray[np.float32]) -> tf.Tensor:
    return tf.matmul(tf.reshape(value, (-1, matrix.shape[0])), matrix)
