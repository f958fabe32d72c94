"""Run a recurrent layer over a window of known length without a loop.

Keras unrolls too, but joins and takes apart the steps with PACK and UNPACK, which few integer
runtimes have. Here the steps are parts of a SPLIT, and are computed as in a step model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from convert.layers.keras_recurrent import CellStep, gru_cell, lstm_cell, simple_rnn_cell

# By the class's name, as Keras 3 has classes of its own.
CELLS: dict[str, Callable[[Any], CellStep]] = {
    "GRUCell": gru_cell,
    "LSTMCell": lstm_cell,
    "SimpleRNNCell": simple_rnn_cell,
}


def unroll(layer: Any) -> None:
    """Let a recurrent layer of tf_keras or Keras 3 compute its steps one after the other.

    It does so for a single sequence of known length that begins with zeros. In all other cases,
    and for cells of other kinds, it computes as before.
    """
    make = CELLS.get(type(layer.cell).__name__)
    if make is None:
        return
    keras_call = layer.call

    def call(sequence: Any, initial_state: Any = None, mask: Any = None, **others: Any) -> Any:
        if initial_state is not None or mask is not None or sequence.shape[0] != 1:
            return keras_call(sequence, initial_state=initial_state, mask=mask, **others)
        return _run(layer, make(layer.cell), sequence)

    layer.call = call


def _run(layer: Any, cell: CellStep, sequence: tf.Tensor) -> Any:
    """Compute a window [1, steps, channels] as the layer does."""
    steps, channels = sequence.shape[1:]
    rows = tf.reshape(sequence, (steps, channels))
    frames = tf.split(rows, steps) if steps > 1 else [rows]
    states = tuple(tf.zeros((1, *state.shape)) for state in cell.states)
    outputs = []
    for frame in reversed(frames) if layer.go_backwards else frames:
        output, states = cell.step(frame, states)
        outputs.append(output)
    result = outputs[-1]
    if layer.return_sequences:
        result = tf.reshape(tf.concat(outputs, 0), (1, steps, result.shape[-1]))
    return [result, *states] if layer.return_state else result
