"""A gated recurrent unit that looks back at its last steps, to align and to copy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.cells.remembered_window import RememberedWindowCell

# The first channel of each head's keys starts near 1 at every step that there was, and its queries
# start with this: so the steps before the first one, whose keys are zero, get exp(-4) of a weight.
NOTICED = 4.0


class AttentiveGRUCell(RememberedWindowCell):
    """h_t as in a GRU, reset after the product:
    z, r = sigmoid(W x_t + b + U h_{t-1}); h~ = tanh(W_h x_t + b_h + r * (U_h h_{t-1}));
    h_t = z * h_{t-1} + (1 - z) * h~.

    It remembers of each step k_t = tanh(W_k x_t + b_k + U_k h_{t-1}) and
    v_t = tanh(W_v x_t + b_v + U_v h_{t-1}). For each head, over the last W steps
    s = t - W + 1 ... t,

    c_t = sum_s p_s v_s with p = softmax_s(k_s . q_t), q_t = Q h_t + b_q;
    the output is tanh(M_h h_t + M_c c_t + b_m), with the heads' c one after the other.

    Key and value see a step's input beside the state before it. So a head can look for what
    followed the same past earlier and find there which input it was: that is how a sequence is
    copied (C. Olsson et al., "In-context learning and induction heads", 2022, section "mechanism").
    Steps before the first one have keys and values of zero, and take their part in the softmax.
    What was found goes into the output, not into h: the states of a whole sequence are computed
    before its attention in training.

    Sources: K. Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014);
    M.-T. Luong et al., "Effective approaches to attention-based neural machine translation" (2015),
    equations 5 and 7; over the network's own past: J. Cheng et al., "Long short-term
    memory-networks for machine reading" (2016).
    Weights: kernel [inputs, 5H], recurrent_kernel [H, 5H] and bias [5H], blocks in the order z, r,
    h~, k, v; query_kernel [H, H], query_bias [H]; state_mix and context_mix [H, H], mix_bias [H].
    Blocks of k, v and the query have their heads one after the other.
    States: h [H]; k and v, each [heads, W, H / heads], the oldest step first.

    Args and errors: as :class:`RememberedWindowCell`.
    """

    state_names: ClassVar[tuple[str, ...]] = ("h", "k", "v")
    gates = 5

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.units,), *self.remembered_shapes)

    @property
    def state_bounds(self) -> dict[str, float]:
        return {"h": 1.0, "k": 1.0, "v": 1.0}

    def initial_bias(self) -> Any:
        blocks = np.zeros((5, self.heads, self.width), np.float32)
        blocks[3, :, 0] = 2.0
        return keras.initializers.Constant(blocks.reshape(-1))

    def build_recurrent(self) -> None:
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, self.gates * self.units),
            initializer="orthogonal",
        )
        first = np.zeros((self.heads, self.width), np.float32)
        first[:, 0] = NOTICED
        square = (self.units, self.units)
        self.query_kernel = self.add_weight(name="query_kernel", shape=square)
        self.query_bias = self.add_weight(
            name="query_bias",
            shape=(self.units,),
            initializer=keras.initializers.Constant(first.reshape(-1)),
        )
        self.state_mix = self.add_weight(name="state_mix", shape=square)
        self.context_mix = self.add_weight(name="context_mix", shape=square)
        self.mix_bias = self.add_weight(name="mix_bias", shape=(self.units,), initializer="zeros")

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        h, *remembered = states
        h, *new = self._state_key_value(product, h)
        keys, values = self.remember(remembered, new)
        query = tf.matmul(h, self.query_kernel) + self.query_bias
        return self._mixed(h, self.attend(query, keys, values)), (h, keys, values)

    def parallel(self, product: tf.Tensor) -> tf.Tensor | None:
        """Attend in all steps at once; only h needs the loop."""

        def step(one: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            h, k, v = self._state_key_value(one, states[0])
            return tf.concat([h, k, v], -1), [h]

        shape = tf.shape(product)
        _, found, _ = keras.backend.rnn(step, product, [tf.zeros((shape[0], self.units))])
        h, k, v = tf.split(found, 3, axis=-1)
        query = tf.tensordot(h, self.query_kernel, 1) + self.query_bias
        heads = (shape[0], shape[1], self.heads, self.width)
        k, v, query = (tf.reshape(part, heads) for part in (k, v, query))
        context = tf.einsum("bhts,bshd->bthd", self._weights(query, k), v)
        return self._mixed(h, tf.reshape(context, (shape[0], shape[1], self.units)))

    def _state_key_value(self, product: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, ...]:
        xz, xr, xh, xk, xv = tf.split(product, 5, axis=-1)
        hz, hr, hh, hk, hv = tf.split(self.recurrent_product(h), 5, axis=-1)
        candidate = tf.tanh(xh + tf.sigmoid(xr + hr) * hh)
        # z * h + (1 - z) * h~, with one product less and no constant 1 to quantize.
        new = candidate + tf.sigmoid(xz + hz) * (h - candidate)
        return new, tf.tanh(xk + hk), tf.tanh(xv + hv)

    def _weights(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Of each head and step what it gives each step: [batch, heads, steps, steps]."""
        scores = tf.einsum("bthd,bshd->bhts", query, keys)
        steps = tf.range(tf.shape(keys)[1])
        age = steps[:, tf.newaxis] - steps
        scores = tf.where((age >= 0) & (age < self.window), scores, -np.inf)
        # The slots that are still empty, each with a score of zero, as one more column.
        empty = tf.cast(tf.maximum(self.window - 1 - steps, 0), query.dtype)
        column = tf.zeros_like(scores[..., :1]) + tf.math.log(empty)[:, tf.newaxis]
        return tf.nn.softmax(tf.concat([scores, column], -1))[..., :-1]

    def _mixed(self, h: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        """The output, of h and context [..., H] each."""
        mixed = tf.linalg.matmul(h, self.state_mix) + tf.linalg.matmul(context, self.context_mix)
        return tf.tanh(mixed + self.mix_bias)
