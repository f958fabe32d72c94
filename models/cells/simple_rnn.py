"""The plain recurrent network (Elman 1990)."""

from __future__ import annotations

import tensorflow as tf

from models.cells.cell import RecurrentCell


class SimpleRNNCell(RecurrentCell):
    """h_t = tanh(W_hx x_t + W_hh h_{t-1} + b_h), the output is h_t.

    Source: J. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    Weights as in ``tf_keras.layers.SimpleRNN``: kernel [inputs, H], recurrent_kernel [H, H],
    bias [H].
    """

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        h = tf.tanh(product + self.recurrent_product(states[0]))
        return h, (h,)
