"""The LSTM without the state in its gates, and without a second state."""

from __future__ import annotations

import tensorflow as tf

from models.cells.linear_recurrence import LinearRecurrenceCell


class MinLSTMCell(LinearRecurrenceCell):
    """f_t = sigmoid(W_f x_t + b_f); i_t = sigmoid(W_i x_t + b_i); h~_t = W_h x_t + b_h (or its
    tanh, see :class:`LinearRecurrenceCell`); h_t = f'_t * h_{t-1} + i'_t * h~_t with
    f'_t = f_t / (f_t + i_t) and i'_t = i_t / (f_t + i_t); the output is h_t.

    Source: L. Feng et al., "Were RNNs all we needed?" (2024), section 3.2.
    Weights: kernel [inputs, 3H] and bias [3H], blocks in the order f, i, h~.
    """

    gates = 3

    # Keeps the share defined where both gates are 0 in float32.
    EPSILON = 1e-12

    def update(self, *gates: tf.Tensor) -> tf.Tensor:
        """i'. No runtime divides in int8; the reciprocal root they all have."""
        f, i = (tf.sigmoid(gate) for gate in gates)
        root = tf.math.rsqrt(f + i + self.EPSILON)
        return i * root * root

    def parallel_update(self, *gates: tf.Tensor) -> tf.Tensor:
        """i' = sigmoid(log i - log f), whose derivative is exact for gates near 0 too."""
        f, i = gates
        return tf.sigmoid(tf.math.softplus(-f) - tf.math.softplus(-i))
