"""Step rule for ConvLSTM1D and ConvLSTM2D: an LSTM whose products are convolutions of a frame.

Source: X. Shi et al., "Convolutional LSTM network" (2015).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from convert.errors import UnsupportedLayerError
from convert.layers.activations import magnitude, step_form
from convert.layers.frame import frame_shape
from convert.layers.layer_rule import LayerValues, State, StepRule, described
from convert.layers.one_step import has_time


def convolutional_lstm(layer: Any, node: Any) -> StepRule:
    """Step an LSTM with convolutions; both its states are frames of its output's shape."""
    cell = layer.cell
    if layer.go_backwards:
        raise UnsupportedLayerError(
            f"{described(layer)} reads the sequence backwards (go_backwards), so its first step "
            "needs the last one; train it forwards"
        )
    if cell.data_format != "channels_last":
        raise UnsupportedLayerError(f"{described(layer)} has its channels first; put them last")
    if not has_time(node.input_shapes):
        raise UnsupportedLayerError(
            f"{described(layer)} runs over time, but its input has no steps left; "
            "set return_sequences=True in front of it"
        )
    if len(node.keras_inputs) > 1 or node.call_kwargs.get("initial_state") is not None:
        raise UnsupportedLayerError(
            f"{described(layer)} begins with another layer's state (initial_state); a step model "
            "begins with zeros: feed that layer's output as a further input of every step"
        )
    frame = frame_shape(node.input_shapes, layer)
    places = cell_places(layer, frame)
    shape = (*places, cell.filters)
    activation, gate = step_form(cell.activation), step_form(cell.recurrent_activation)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        h, c = states
        given = tf.nn.convolution(
            inputs[0],
            cell.kernel,
            cell.strides,
            cell.padding.upper(),
            dilations=cell.dilation_rate,
        )
        if cell.use_bias:
            given = given + cell.bias
        given = given + tf.nn.convolution(h, cell.recurrent_kernel, padding="SAME")
        i, f, candidate, o = tf.split(given, 4, axis=-1)
        c = gate(f) * c + gate(i) * activation(candidate)
        h = gate(o) * activation(c)
        return ((h, h, c) if layer.return_state else (h,)), (h, c)

    bounds = magnitude(cell.activation), magnitude(cell.recurrent_activation)
    bound = None if None in bounds else bounds[0] * bounds[1]  # type: ignore[operator]
    return StepRule(
        step,
        (State("h", shape, bound), State("c", shape)),
        sums_up=(not layer.return_sequences, *((True, True) if layer.return_state else ())),
    )


def cell_places(layer: Any, frame: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many places the states have along each axis of a frame."""
    given = layer.compute_output_shape((1, 1, *frame))
    output = given[0] if isinstance(given, list) else given
    return tuple(int(size) for size in output[2 if layer.return_sequences else 1 : -1])
