"""Step rules for our own recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.layers.layer_rule import (
    Joined,
    LayerValues,
    Lookup,
    Scaled,
    State,
    StepRule,
    in_rows,
    look_up,
    plain,
)
from models.cells.cell import RecurrentCell
from models.layers import Recurrence

# Folding an embedding into the input product may add at most this share to the weights of both
# layers together.
FOLDED_GROWTH = 0.5
# The state that holds a recurrence's output between its updates, if no other state does.
HELD = "held"


def recurrence(layer: Recurrence, node: Any) -> StepRule:
    """Step a cell of ours.

    A normalization before it is folded into its input product: no operator, no rounding. After an
    embedding, the product of every row of the table may be computed at export: then the step looks
    it up and has no input product."""
    cell = layer.cell
    held = layer.period > 1 and not _gives_state(layer)

    def step(inputs: LayerValues, states: LayerValues) -> tuple[LayerValues, LayerValues]:
        (value,) = inputs
        if isinstance(value, Lookup) and _folds(layer, value):
            product = for_states(cell, look_up(_products(layer, value.table), value.token), states)
            output, new_states = cell.step(product, states, cell.begin())
            return (output,), new_states
        if isinstance(value, Joined | Lookup):
            value = plain(value)
        affine = (value.scale, value.shift) if isinstance(value, Scaled) else ()
        value = for_states(cell, value.value if isinstance(value, Scaled) else value, states)
        cell_states = states[: len(cell.state_names)]
        output, new_states = layer.step(value, cell_states, cell.begin(), affine)
        return (output,), (*new_states, output) if held else new_states

    states = tuple(
        State(name, shape, cell.state_bounds.get(name), period=layer.period)
        for name, shape in zip(cell.state_names, cell.state_shapes, strict=True)
    )
    if held:
        states += (State(HELD, (cell.units,), period=layer.period),)
    return StepRule(step, states, takes_deferred=True)


def for_states(cell: RecurrentCell, value: tf.Tensor, states: LayerValues) -> tf.Tensor:
    """Return a value in as many rows as the states, if the cell needs that."""
    return in_rows(value, int(states[0].shape[0])) if cell.needs_equal_rows else value


def _gives_state(layer: Recurrence) -> bool:
    """Tell whether the output is one of the new states, which stays until the next update."""
    zeros = tf.zeros((1, layer.inputs))
    output, new_states = layer.step(zeros, tuple(layer.initial_states(1)), layer.cell.begin())
    return any(output is state for state in new_states)


def _folds(layer: Recurrence, lookup: Lookup) -> bool:
    """Decide whether to look up products instead of embeddings.

    By default yes if the weights of embedding and recurrence do not grow much."""
    if layer.residual or lookup.fold is not None:
        # A residual recurrence needs the embedding itself too.
        return bool(lookup.fold) and not layer.residual
    vocabulary, width = lookup.table.shape
    outputs = layer.cell.gates * layer.cell.units
    before = vocabulary * width + sum(int(np.prod(weight.shape)) for weight in layer.weights)
    growth = vocabulary * outputs - (vocabulary + outputs) * width
    return bool(growth <= FOLDED_GROWTH * before)


def _products(layer: Recurrence, table: tf.Variable) -> NDArray[Any]:
    """Compute the input product of each row of an embedding's table: [vocabulary, width] ->
    [vocabulary, gates * H]."""
    with tf.init_scope():  # computed now: the converter does not fold products of large constants
        products: NDArray[Any] = layer.cell.input_product(tf.convert_to_tensor(table)).numpy()
    return products
