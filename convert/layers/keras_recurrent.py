"""Step rules for Keras' recurrent layers.

They compute as our own cells do (models/cells): input and state have separate products, and the
bias is on the input's side, so that a quantized state keeps its own grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers.activations import is_gate, magnitude, step_form
from convert.layers.layer_rule import (
    GATE_BOUND,
    LayerValues,
    State,
    StepRule,
    described,
    plain,
    product,
)
from convert.layers.one_step import is_one_step
from convert.layers.recurrent import for_states
from models.cells.cell import RecurrentCell


class CellStep(NamedTuple):
    """A cell's states, and its step: (input, states) -> (output, new states)."""

    states: tuple[State, ...]
    step: Callable[[Any, LayerValues], tuple[Any, LayerValues]]


def _bias(cell: Any) -> tf.Tensor | None:
    return cell.bias if cell.use_bias else None


def simple_rnn_cell(cell: keras.layers.SimpleRNNCell) -> CellStep:
    """Compute h = activation(W x + b + U h)."""
    activation = step_form(cell.activation)

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        h = activation(
            product(x, cell.kernel, _bias(cell)) + tf.matmul(states[0], cell.recurrent_kernel)
        )
        return h, (h,)

    return CellStep((State("h", (cell.units,), magnitude(cell.activation)),), step)


def lstm_cell(cell: keras.layers.LSTMCell) -> CellStep:
    """Step an LSTM as models/cells/lstm.py does, with any activations."""
    activation, gate = step_form(cell.activation), step_form(cell.recurrent_activation)
    bounds = magnitude(cell.activation), magnitude(cell.recurrent_activation)

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        h, c = states
        given = product(x, cell.kernel, _bias(cell)) + tf.matmul(h, cell.recurrent_kernel)
        i, f, candidate, o = tf.split(given, 4, axis=-1)
        c = gate(f) * c + gate(i) * activation(candidate)
        h = gate(o) * activation(c)
        return h, (h, c)

    bound = None if None in bounds else bounds[0] * bounds[1]  # type: ignore[operator]
    return CellStep((State("h", (cell.units,), bound), State("c", (cell.units,))), step)


def gru_cell(cell: keras.layers.GRUCell) -> CellStep:
    """Step a GRU as models/cells/gru.py does, with any activations."""
    activation, gate = step_form(cell.activation), step_form(cell.recurrent_activation)

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        (h,) = states
        units, kernel = cell.units, cell.recurrent_kernel
        bias = recurrent_bias = None
        if cell.use_bias:
            bias, recurrent_bias = tf.unstack(cell.bias) if cell.reset_after else (cell.bias, None)
        xz, xr, xh = tf.split(product(x, cell.kernel, bias), 3, axis=-1)
        if cell.reset_after:
            hz, hr, hh = tf.split(product(h, kernel, recurrent_bias), 3, axis=-1)
            candidate = activation(xh + gate(xr + hr) * hh)
        else:
            hz, hr = tf.split(tf.matmul(h, kernel[:, : 2 * units]), 2, axis=-1)
            reset = gate(xr + hr) * h
            candidate = activation(xh + tf.matmul(reset, kernel[:, 2 * units :]))
        # Equals z * h + (1 - z) * h~, with one product less and no constant 1 to quantize.
        h = candidate + gate(xz + hz) * (h - candidate)
        return h, (h,)

    # The new state is between the old one and the candidate if z is between 0 and 1.
    bound = magnitude(cell.activation) if is_gate(cell.recurrent_activation) else None
    return CellStep((State("h", (cell.units,), bound),), step)


def own_cell(cell: RecurrentCell) -> CellStep:
    """Step a cell of ours within Keras' RNN layer."""

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        product = for_states(cell, cell.input_product(plain(x)), states)
        return cell.step(product, states, cell.begin())

    states = zip(cell.state_names, cell.state_shapes, strict=True)
    return CellStep(
        tuple(State(name, shape, cell.state_bounds.get(name)) for name, shape in states), step
    )


def stacked_cells(cells: keras.layers.StackedRNNCells) -> CellStep:
    """Step stacked cells, each with its own states."""
    steps = [cell_step(cell) for cell in cells.cells]

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        new: list[Any] = []
        for item in steps:
            own, states = states[: len(item.states)], states[len(item.states) :]
            x, given = item.step(x, own)
            new += given
        return x, tuple(new)

    named = [
        State(f"{state.name}{number}", state.shape, state.bound)
        for number, item in enumerate(steps)
        for state in item.states
    ]
    return CellStep(tuple(named), step)


CELL_STEPS: dict[type, Callable[[Any], CellStep]] = {
    keras.layers.SimpleRNNCell: simple_rnn_cell,
    keras.layers.LSTMCell: lstm_cell,
    keras.layers.GRUCell: gru_cell,
    keras.layers.StackedRNNCells: stacked_cells,
    RecurrentCell: own_cell,
}


def cell_step(cell: Any) -> CellStep:
    """Find how a cell is stepped; UnsupportedLayerError if its kind is unknown."""
    for kind in type(cell).__mro__:
        if kind in CELL_STEPS:
            return CELL_STEPS[kind](cell)
    known = ", ".join(sorted(kind.__name__ for kind in CELL_STEPS))
    raise UnsupportedLayerError(
        f"cell '{cell.name}' ({type(cell).__name__}) cannot be stepped; steppable are {known}"
    )


def recurrent_layer(layer: keras.layers.RNN, node: Any) -> StepRule:
    """Step SimpleRNN, LSTM, GRU, and RNN with a cell or stacked cells."""
    if layer.go_backwards:
        raise UnsupportedLayerError(
            f"{described(layer)} reads the sequence backwards (go_backwards), so its first step "
            "needs the last one; train it forwards"
        )
    if getattr(layer, "time_major", False):
        raise UnsupportedLayerError(
            f"{described(layer)} has the time axis first (time_major); put the batch axis first"
        )
    given = len(node.keras_inputs) - 1
    item = _begun_with_constants(layer, node, cell_step(layer.cell))
    if is_one_step() and not layer.stateful:
        return _with_given_states(layer, item, given > 0)
    if given:
        item = _begun_with_inputs(layer, item, given)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        value = inputs if given else inputs[0]
        output, new = item.step(value, states)
        outer = new[: len(new) - 1] if given else new
        return ((output, *outer) if layer.return_state else (output,)), new

    of_states = (True,) * (len(item.states) - bool(given)) if layer.return_state else ()
    return StepRule(
        step,
        item.states,
        takes_deferred=True,
        sums_up=(not layer.return_sequences, *of_states),
        begins_with=given,
    )


def _begun_with_constants(layer: keras.layers.RNN, node: Any, item: CellStep) -> CellStep:
    """Let a cell begin with the numbers that its layer is called with."""
    numbers = node.call_kwargs.get("initial_state")
    if numbers is None:
        return item
    parts = numbers if isinstance(numbers, list | tuple) else [numbers]
    begun = []
    for state, part in zip(item.states, parts, strict=True):
        rows = np.asarray(part, np.float32).reshape(-1, *state.shape)
        if (rows != rows[:1]).any():
            raise UnsupportedLayerError(
                f"{described(layer)} begins with other numbers for each sequence of a batch "
                "(initial_state); let it begin with the same"
            )
        begun.append(replace(state, initial=rows[0]))
    return item._replace(states=tuple(begun))


def _begun_with_inputs(layer: keras.layers.RNN, item: CellStep, count: int) -> CellStep:
    """Let a cell begin with values that are the same over a sequence.

    Its input is then (input, values...). A register of a zero and a one tells the first step, where
    the states are still zeros and the values are added.
    """
    if count != len(item.states):
        raise UnsupportedLayerError(
            f"{described(layer)} is called with {count} values beside its input, but has "
            f"{len(item.states)} states; leave constants out"
        )

    def step(x: Any, states: LayerValues) -> tuple[Any, LayerValues]:
        value, *begin = x
        *old, register = states
        first = 1.0 - tf.nn.relu(register[:, :1])
        begun = [one + first * plain(other) for one, other in zip(old, begin, strict=True)]
        output, new = item.step(value, tuple(begun))
        moved = tf.concat([register[:, 1:], register[:, 1:]], -1)
        return output, (*new, moved)

    register = State("begun", (2,), GATE_BOUND, np.array([0, 1], np.float32))
    # What they begin with may be beyond what the equations bound.
    unbound = (replace(state, bound=None) for state in item.states)
    return CellStep((*unbound, register), step)


def _with_given_states(layer: keras.layers.RNN, item: CellStep, are_given: bool) -> StepRule:
    """Step a layer whose states come as inputs and go as outputs, or are zeros at each call."""

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        value, *old = inputs
        if not are_given:
            rows = tf.reshape(plain(value), (-1, plain(value).shape[-1]))[:, :1]
            old = [tf.zeros_like(rows) * tf.zeros((1, *state.shape)) for state in item.states]
        output, new = item.step(value, tuple(plain(one) for one in old))
        return ((output, *new) if layer.return_state else (output,)), ()

    return StepRule(step, takes_deferred=True)


def cell_called(cell: Any, node: Any) -> StepRule:
    """Step a cell that is called as a layer: it takes its states and gives the new ones."""
    item = cell_step(cell)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        value, *old = inputs
        output, new = item.step(value, tuple(plain(one) for one in old))
        return (output, *new), ()

    return StepRule(step, takes_deferred=True)
