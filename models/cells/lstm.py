"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras as keras

from models.cells.cell import RecurrentCell


class LSTMCell(RecurrentCell):
    """f, i, o = sigmoid(W [x_t, h_{t-1}] + b); c~ = tanh(W_c [x_t, h_{t-1}] + b_c);
    c_t = f * c_{t-1} + i * c~; h_t = o * tanh(c_t); the output is h_t.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9
    (1997), with the forget gate of F. Gers et al. (2000), whose bias starts at 1
    (R. Jozefowicz et al., 2015).
    Weights as in ``tf_keras.layers.LSTM``: kernel [inputs, 4H], recurrent_kernel [H, 4H],
    bias [4H], blocks in the order i, f, c~, o.
    """

    state_names = ("h", "c")
    gates = 4

    @property
    def state_bounds(self) -> dict[str, float]:
        """|c| has no bound: f may stay near 1 while i * c~ keeps adding."""
        return {"h": 1.0}

    def initial_bias(self) -> Any:
        ones_at_forget = [0.0] * self.units + [1.0] * self.units + [0.0] * 2 * self.units
        return keras.initializers.Constant(ones_at_forget)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        h, c = states
        i, f, candidate, o = tf.split(product + self.recurrent_product(h), 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(candidate)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, (h, c)
