"""The GRU without the state in its gates."""

from __future__ import annotations

import tensorflow as tf

from models.cells.linear_recurrence import LinearRecurrenceCell


class MinGRUCell(LinearRecurrenceCell):
    """z_t = sigmoid(W_z x_t + b_z); h~_t = W_h x_t + b_h (or its tanh, see
    :class:`LinearRecurrenceCell`); h_t = (1 - z_t) * h_{t-1} + z_t * h~_t; the output is h_t.

    Source: L. Feng et al., "Were RNNs all we needed?" (2024), section 3.1. (Their form in
    logarithms, with a positive h~, serves numerics that are not needed here.)
    Weights: kernel [inputs, 2H] and bias [2H], blocks in the order z, h~. Mind that here a z of 1
    takes the candidate, in :class:`models.cells.gru.GRUCell` the state.
    """

    gates = 2

    def update(self, *gates: tf.Tensor) -> tf.Tensor:
        (z,) = gates
        return tf.sigmoid(z)
