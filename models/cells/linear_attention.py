"""Attention without a softmax, whose past fits into one matrix per head."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.cells.cell import RecurrentCell
from models.errors import ModelsError

# Added to q . z in the denominator, for each key of a head; the class says why.
FLOOR = 1 / 64


class LinearAttentionCell(RecurrentCell):
    """For each head, with q_t, k_t = sigmoid(W_q x_t + b_q), sigmoid(W_k x_t + b_k),
    v_t = tanh(W_v x_t + b_v):

    S_t = S_{t-1} + a (k_t v_t^T - S_{t-1}); z_t = z_{t-1} + a (k_t - z_{t-1});
    the output is S_t^T q_t / (q_t . z_t + d / 64) with d keys a head, the heads' outputs one after
    the other.

    This is attention in which the similarity of a query and a key is their scalar product: the sum
    over all past steps then needs no past step, only the matrix S and the normalizer z. Three
    things differ from the paper. It adds up k v^T for ever, which on a stream without an end leaves
    every range; here a step's weight decays by 1 - a with each later step, a in (0, 1) learned per
    head, so that S and z are means: |S| <= 1 as |k v| <= 1, and 0 <= z <= 1. And the paper makes
    keys and queries positive by elu + 1, which has no bound; a sigmoid has. The d / 64, a few
    hundredths of a usual q . z, stands for a step of value zero: where gates saturate, or small
    integers round q . z to zero, nothing is divided by zero.

    Sources: A. Katharopoulos et al., "Transformers are RNNs: fast autoregressive transformers with
    linear attention" (ICML 2020), section 3.4; the decay, of another length in each head: Y. Sun
    et al., "Retentive network: a successor to transformer for large language models" (2023).
    Weights: kernel [inputs, 3H] and bias [3H], blocks in the order q, k, v, each block's heads one
    after the other; rate [heads], a before its sigmoid, at the start 1/2, 1/4, 1/8...
    States: s [heads, H / heads keys, H / heads values], z [heads, H / heads, 1].

    Args:
        units: number of outputs H, a multiple of ``heads``.
        heads: number of heads, H / heads keys and values each.

    Raises:
        ModelsError: sizes that do not divide.
    """

    state_names: ClassVar[tuple[str, ...]] = ("s", "z")
    gates = 3
    # Units cannot be cut out one by one: the heads must stay of one size.
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, units: int, heads: int = 4, **kwargs: Any) -> None:
        self.heads = checked_heads(units, heads)
        self.width = units // heads
        super().__init__(units, **kwargs)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.heads, self.width, self.width), (self.heads, self.width, 1)

    @property
    def state_bounds(self) -> dict[str, float]:
        return {"s": 1.0, "z": 1.0}

    def build_recurrent(self) -> None:
        """There is no recurrent matrix."""
        rates = 2.0 ** -np.arange(1, self.heads + 1)
        self.rate = self.add_weight(
            name="rate",
            shape=(self.heads,),
            initializer=keras.initializers.Constant(np.log(rates / (1 - rates))),
        )

    def recurrent_factors(self) -> tuple[tf.Variable, ...]:
        return ()

    def begin(self) -> tuple[tf.Tensor, ...]:
        """a [1, heads, 1, 1]."""
        return (tf.reshape(tf.sigmoid(self.rate), (1, self.heads, 1, 1)),)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        s, z = states
        (rate,) = constants
        q, k, v = tf.split(product, 3, axis=-1)
        column, row = (-1, self.heads, self.width, 1), (-1, self.heads, 1, self.width)
        q, k = tf.reshape(tf.sigmoid(q), column), tf.reshape(tf.sigmoid(k), column)
        s = s + rate * (k * tf.reshape(tf.tanh(v), row) - s)
        z = z + rate * (k - z)
        # As products and sums: they are right in every runtime's integers, a BATCH_MATMUL is not.
        weighted = tf.reduce_sum(q * s, 2)
        # 1 / (q . z) as a square: RSQRT has an integer form, DIV has none.
        root = tf.math.rsqrt(tf.reduce_sum(q * z, 2) + FLOOR * self.width)
        return tf.reshape(weighted * root * root, (-1, self.units)), (s, z)

    def parallel(self, product: tf.Tensor) -> tf.Tensor | None:
        shape = tf.shape(product)
        heads = (shape[0], shape[1], self.heads, self.width)
        q, k, v = (tf.reshape(part, heads) for part in tf.split(product, 3, axis=-1))
        weights = tf.einsum("bthk,bshk->bhts", tf.sigmoid(q), tf.sigmoid(k))
        steps = tf.range(shape[1], dtype=product.dtype)
        age = steps[:, tf.newaxis] - steps
        # a (1 - a)^age; that of the future is none, and must not overflow before it is cut away.
        rate = self.rate[:, tf.newaxis, tf.newaxis]
        decay = tf.sigmoid(rate) * tf.exp(tf.maximum(age, 0) * tf.math.log_sigmoid(-rate))
        weights *= tf.where(age >= 0, decay, 0)
        weights /= tf.reduce_sum(weights, -1, keepdims=True) + FLOOR * self.width
        outputs = tf.einsum("bhts,bshv->bthv", weights, tf.tanh(v))
        return tf.reshape(outputs, (shape[0], shape[1], self.units))

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "heads": self.heads}
        for rank in ("rank", "input_rank"):
            del config[rank]
        return config


def checked_heads(units: int, heads: int) -> int:
    """Return ``heads``; raise ModelsError unless it divides ``units``."""
    if type(heads) is not int or heads < 1 or units % heads:
        raise ModelsError(
            f"heads must be an integer from 1 on that divides units ({units}), not {heads!r}"
        )
    return heads
