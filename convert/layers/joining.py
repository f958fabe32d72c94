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
        _check_time(layer, node)
        return stateless(lambda *values: functools.reduce(function, values))

    return rule


def _check_time(layer: keras.layers.Layer, node: Any) -> None:
    """Refuse to join values in time with some whose second axis is of other steps."""
    given = node.input_shapes
    shapes = [tuple(shape) for shape in (given if isinstance(given, list) else [given])]
    if any(map(has_time, shapes)):
        for shape in shapes:
            if not has_time(shape) and len(shape) > 2 and shape[1] != 1:
                raise UnsupportedLayerError(
                    f"{described(layer)} joins each step with one of {shape[1]} that are made of "
                    "another value (RepeatVector, Reshape); give that value as an input of every "
                    "step"
                )


add = _merged(tf.add)
subtract = _merged(tf.subtract)
multiply = _merged(tf.multiply)
maximum = _merged(tf.maximum)
minimum = _merged(smaller)


def average(layer: keras.layers.Average, node: Any) -> StepRule:
    """Step the mean of two or more layers."""
    _check_time(layer, node)
    return stateless(lambda *values: functools.reduce(tf.add, values) * (1 / len(values)))


def concatenate(layer: keras.layers.Concatenate, node: Any) -> StepRule:
    """Join along an axis of the frame; along the channels a product after it takes the parts one
    by one."""
    _check_time(layer, node)
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
