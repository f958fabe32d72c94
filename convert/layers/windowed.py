"""Step rules for layers that look back over the last steps: causal convolution and pooling.

The last inputs are the state. A convolution's window is one row, so its step is one product with a
matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from calibration.ranges import NOTHING_YET
from convert.layers.activations import BOUNDS, LOW_ENDS, low_end, step_form
from convert.layers.frame import largest_of_frame, per_frame
from convert.layers.layer_rule import (
    LayerValues,
    State,
    StepRule,
    in_float,
    joined,
)
from convert.layers.lookback import look_back, over_time
from convert.layers.one_step import has_time


def _window(
    channels: int, reach: int, dilation: int
) -> Callable[[tf.Tensor, LayerValues], tuple[tf.Tensor, LayerValues]]:
    """Make the function (input [1, channels], past) -> (window [1, taps * channels], new past)."""

    def look(value: tf.Tensor, states: LayerValues) -> tuple[tf.Tensor, LayerValues]:
        if not reach:
            return value, ()
        row = joined([states[0], value])
        past = row[:, channels:]
        if dilation == 1:
            return row, (past,)
        taps = [
            row[:, start * channels : (start + 1) * channels]
            for start in range(0, reach + 1, dilation)
        ]
        return tf.concat(taps, -1), (past,)

    return look


def _past(channels: int, reach: int) -> tuple[State, ...]:
    return (State("past", (reach * channels,)),) if reach else ()


def _convolution(layer: Any, node: Any, product: Callable[[tf.Tensor, int], tf.Tensor]) -> StepRule:
    """Make the rule of a convolution.

    Args:
        product: takes the window [1, size * channels] and the number of channels."""
    if _of_one_frame(node):
        return per_frame(layer, node)
    size, dilation = layer.kernel_size[0], layer.dilation_rate[0]
    channels = int(node.input_shapes[-1])
    back = look_back(layer, node, size, dilation, layer.strides[0])
    reach = back.reach
    look = _window(channels, reach, dilation)
    activation = step_form(layer.activation)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        window, new = look(inputs[0], states)
        result = product(window, channels)
        result = result + layer.bias if layer.use_bias else result
        return (activation(result),), new

    return over_time(step, _past(channels, reach), back)


def causal_convolution(layer: keras.layers.Conv1D, node: Any) -> StepRule:
    """Step Conv1D, also with groups: multiply the window with the kernel as one matrix."""

    def product(window: tf.Tensor, channels: int) -> tf.Tensor:
        return tf.matmul(window, tf.reshape(_ungrouped(layer, channels), (-1, layer.filters)))

    return _convolution(layer, node, product)


def _ungrouped(layer: keras.layers.Conv1D, channels: int) -> tf.Tensor:
    """Return the kernel as [size, channels, filters], with zeros between groups."""
    if layer.groups == 1:
        return layer.kernel
    width, filters = channels // layer.groups, layer.filters // layer.groups
    rows = [
        tf.pad(
            layer.kernel[:, :, group * filters : (group + 1) * filters],
            ((0, 0), (group * width, channels - (group + 1) * width), (0, 0)),
        )
        for group in range(layer.groups)
    ]
    return tf.concat(rows, -1)


def _depthwise(window: tf.Tensor, kernel: tf.Tensor, channels: int) -> tf.Tensor:
    """Convolve a window [1, size * channels] with a kernel [size, channels, multiplier] ->
    [1, channels * multiplier]."""
    size, multiplier = int(kernel.shape[0]), int(kernel.shape[2])
    total = None
    for tap, part in enumerate(tf.split(window, size, -1) if size > 1 else [window]):
        if multiplier > 1:
            part = tf.matmul(part, np.repeat(np.eye(channels, dtype="f"), multiplier, 1))
        weighted = part * tf.reshape(kernel[tap], (1, channels * multiplier))
        total = weighted if total is None else total + weighted
    return total


def depthwise_convolution(layer: keras.layers.DepthwiseConv1D, node: Any) -> StepRule:
    """Convolve each channel with a kernel of its own."""

    def product(window: tf.Tensor, channels: int) -> tf.Tensor:
        return _depthwise(window, tf.convert_to_tensor(layer.depthwise_kernel), channels)

    return _convolution(layer, node, product)


def separable_convolution(layer: keras.layers.SeparableConv1D, node: Any) -> StepRule:
    """Convolve each channel with a kernel of its own, then multiply over the channels."""

    def product(window: tf.Tensor, channels: int) -> tf.Tensor:
        apart = _depthwise(window, tf.convert_to_tensor(layer.depthwise_kernel), channels)
        return tf.matmul(apart, layer.pointwise_kernel[0])

    return _convolution(layer, node, product)


def causal_pooling(layer: Any, node: Any) -> StepRule:
    """Step the mean or the largest value of the last steps."""
    if _of_one_frame(node):
        return per_frame(layer, node)
    size, stride = (
        item if isinstance(item, int) else item[0] for item in (layer.pool_size, layer.strides)
    )
    channels = int(node.input_shapes[-1])
    back = look_back(layer, node, size, stride=stride)
    reach = back.reach
    look = _window(channels, reach, 1)
    largest = isinstance(layer, keras.layers.MaxPooling1D)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        window, new = look(inputs[0], states)
        parts = tf.split(window, size, -1) if size > 1 else [window]
        result = parts[0]
        for part in parts[1:]:
            result = tf.maximum(result, part) if largest else result + part
        return (result if largest else result * (1 / size),), new

    return over_time(step, _past(channels, reach), back)


def _of_one_frame(node: Any) -> bool:
    """Tell whether a layer of 1-D windows runs along an axis of a frame, not along time."""
    return not has_time(node.input_shapes) or len(node.input_shapes) > 3


def running_mean(layer: keras.layers.GlobalAveragePooling1D, node: Any) -> StepRule:
    """Step the mean over all steps so far: mean + (x - mean) / n."""
    if not has_time(node.input_shapes):
        return per_frame(layer, node)
    channels = int(node.input_shapes[-1])

    @in_float
    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        mean, count = states
        count = count + 1.0
        mean = mean + (inputs[0] - mean) / count
        return (mean,), (mean, count)

    return StepRule(
        step,
        (State("mean", (channels,), in_float=True), State("count", (1,), in_float=True)),
        sums_up=True,
        float_only=(
            "what a step adds to a mean over all steps becomes smaller than the rounding of 8 or "
            "16 bits"
        ),
    )


def running_max(layer: keras.layers.GlobalMaxPooling1D, node: Any) -> StepRule:
    """Step the largest value of each channel so far.

    If the layer before does not tell where it can begin, it begins at the lowest value that float32
    holds; in integers, at the lowest of its grid."""
    if not has_time(node.input_shapes):
        return largest_of_frame(layer, node)
    channels = int(node.input_shapes[-1])
    lowest = _lowest(node.keras_inputs[0])

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        largest = tf.maximum(states[0], inputs[0])
        return (largest,), (largest,)

    initial = np.full((channels,), NOTHING_YET if lowest is None else lowest, np.float32)
    return StepRule(step, (State("max", (channels,), initial=initial),), sums_up=True)


def _lowest(tensor: Any) -> float | None:
    """Find the lowest value that a tensor's layer can give, if its activation tells."""
    layer = getattr(getattr(tensor, "_keras_history", None), "layer", None)
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope:
        return 0.0
    known = activation in BOUNDS or activation in LOW_ENDS
    if isinstance(layer, keras.layers.LSTM | keras.layers.GRU) and low_end(activation) != -1.0:
        return None
    return low_end(activation) if known else None
