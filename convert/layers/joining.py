"""Step rules for layers that join two or more values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.activations import minimum as smaller
from convert.layers.layer_rule import Joined, Lookup, StepRule, described, joined, plain, stateless
from convert.layers.one_step import has_time


def _merged(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], StepRule]:
    """Make the rule of a layer that combines two or more inputs element by element."""

    def rule(layer: keras.layers.Layer, node: Any) -> StepRule:
        align = _of_each_step(layer, node)
        return stateless(lambda *values: functools.reduce(function, align(values)))

    return rule


def _of_each_step(
    layer: keras.layers.Layer, node: Any
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Make the function that gives the values that a layer joins the axes of one step.

    Raises:
        UnsupportedLayerError: it joins values in time with some whose second axis is other steps.
    """
    given = node.input_shapes
    shapes = [tuple(shape) for shape in (given if isinstance(given, list) else [given])]
    longest = max(map(len, shapes))
    other = [
        any(map(has_time, shapes)) and not has_time(shape) and 2 < len(shape) == longest
        for shape in shapes
    ]
    for shape, is_other in zip(shapes, other, strict=True):
        if is_other and shape[1] != 1:
            raise UnsupportedLayerError(
                f"{described(layer)} joins each step with one of {shape[1]} that are made of "
                "another value (RepeatVector, Reshape); give that value as an input of every step"
            )

    def align(values: tuple[Any, ...]) -> tuple[Any, ...]:
        # One value for all steps, such as a gate of [batch, 1, channels].
        return tuple(
            tf.reshape(value, (-1, *(int(size) for size in shape[2:]))) if is_other else value
            for value, shape, is_other in zip(values, shapes, other, strict=True)
        )

    return align


add = _merged(tf.add)
subtract = _merged(tf.subtract)
multiply = _merged(tf.multiply)
maximum = _merged(tf.maximum)
minimum = _merged(smaller)


def average(layer: keras.layers.Average, node: Any) -> StepRule:
    """Step the mean of two or more layers."""
    align = _of_each_step(layer, node)
    return stateless(lambda *values: functools.reduce(tf.add, align(values)) * (1 / len(values)))


def concatenate(layer: keras.layers.Concatenate, node: Any) -> StepRule:
    """Join along an axis of the frame; along the channels a product after it takes the parts one
    by one."""
    _of_each_step(layer, node)  # for what it refuses: nothing is spread over the steps here
    shapes = node.input_shapes
    shape = tuple(shapes[0] if isinstance(shapes, list) else shapes)
    first = 2 if has_time(shape) else 1
    axis = layer.axis % len(shape)
    if axis < first:
        raise UnsupportedLayerError(
            f"{described(layer)} joins along axis {layer.axis}; along the axes of a frame, such as "
            "the last one (channels), it can be stepped"
        )
    if axis < len(shape) - 1:
        return stateless(lambda *values: joined(values, axis - first + 1))

    def step(*values: Any) -> Joined:
        parts: list[Any] = []
        for value in values:
            parts += (
                value.parts
                if isinstance(value, Joined)
                else [plain(value) if isinstance(value, Lookup) else value]
            )
        return Joined(tuple(parts))

    return stateless(step, takes_deferred=True)
