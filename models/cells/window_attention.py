"""Causal self-attention over the last steps, in place of a recurrence."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf

from models.cells.remembered_window import RememberedWindowCell


class WindowAttentionCell(RememberedWindowCell):
    """For each head, with q_t = W_q x_t + b_q, k_t = tanh(W_k x_t + b_k),
    v_t = tanh(W_v x_t + b_v), over the last W steps s = t - W + 1 ... t:

    the output is sum_s p_s v_s with p = softmax_s(k_s . q_t + bias_{t-s}), the heads' outputs one
    after the other. Steps before the first one have keys and values of zero, and take their part
    in the softmax.

    The states are the keys and values of the window, moved up by one in each step: a step computes
    one new key and value, and a state's numbers are handed on as they are. The tanh, which the
    paper does not have, bounds the states by 1, so that they are on the grid of a quantized tanh
    and are never rounded again. The bias for each distance in place of positions added to the
    inputs keeps a step independent of how long the stream has run. The paper's factor 1 / sqrt(d)
    is left to the weights.

    Sources: A. Vaswani et al., "Attention is all you need" (2017), section 3.2; a window: I.
    Beltagy et al., "Longformer: the long-document transformer" (2020), section 3.1; a bias for each
    head and distance: C. Raffel et al., "Exploring the limits of transfer learning with a unified
    text-to-text transformer" (2020), section 2.1.
    Weights: kernel [inputs, 3H] and bias [3H], blocks in the order q, k, v, each block's heads one
    after the other; distance_bias [heads, W], the oldest step first.
    States: k and v, each [heads, W, H / heads], the oldest step first.

    Args and errors: as :class:`RememberedWindowCell`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("k", "v")
    gates = 3

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.remembered_shapes

    @property
    def state_bounds(self) -> dict[str, float]:
        return {"k": 1.0, "v": 1.0}

    def build_recurrent(self) -> None:
        """There is no recurrent matrix."""
        self.distance_bias = self.add_weight(
            name="distance_bias", shape=(self.heads, self.window), initializer="zeros"
        )

    def recurrent_factors(self) -> tuple[tf.Variable, ...]:
        return ()

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        q, k, v = tf.split(product, 3, axis=-1)
        keys, values = self.remember(states, (tf.tanh(k), tf.tanh(v)))
        return self.attend(q, keys, values, self.distance_bias), (keys, values)

    def parallel(self, product: tf.Tensor) -> tf.Tensor | None:
        shape = tf.shape(product)
        heads = (shape[0], shape[1], self.heads, self.width)
        q, k, v = (tf.reshape(part, heads) for part in tf.split(product, 3, axis=-1))
        keys, values = (self._windows(tf.tanh(part)) for part in (k, v))
        scores = tf.einsum("bthd,bthwd->bthw", q, keys) + self.distance_bias
        outputs = tf.einsum("bthw,bthwd->bthd", tf.nn.softmax(scores), values)
        return tf.reshape(outputs, (shape[0], shape[1], self.units))

    def _windows(self, sequence: tf.Tensor) -> tf.Tensor:
        """What each step sees: [batch, steps, heads, d] -> [batch, steps, heads, W, d], before the
        first step zeros."""
        steps = tf.shape(sequence)[1]
        padded = tf.pad(sequence, ((0, 0), (self.window - 1, 0), (0, 0), (0, 0)))
        return tf.stack([padded[:, s : s + steps] for s in range(self.window)], 3)
