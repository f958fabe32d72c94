"""Gated recurrent unit, in both places of the reset gate."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from models.cells.cell import RecurrentCell


class GRUCell(RecurrentCell):
    """z, r = sigmoid(W [x_t, h_{t-1}] + b);
    h~ = tanh(W_h x_t + b_h + r * (U_h h_{t-1} + b'_h)) with ``reset_after``, else
    h~ = tanh(W_h x_t + b_h + U_h (r * h_{t-1})); h_t = z * h_{t-1} + (1 - z) * h~;
    the output is h_t.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014);
    reset after the product as in cuDNN.
    Weights as in ``tf_keras.layers.GRU``, blocks in the order z, r, h~: kernel [inputs, 3H],
    recurrent_kernel [H, 3H], bias [3H], and recurrent_bias [3H] with ``reset_after`` (Keras
    stacks the two biases).

    Args:
        units: number of hidden units H.
        reset_after: apply the reset gate after the recurrent product (one product a step)
            instead of before it (two).
        rank: of the recurrent matrix, see :class:`RecurrentCell`; the three gates share the factor
            [H, rank].
    """

    gates = 3
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        **RecurrentCell.weight_axes,
        "recurrent_bias": ("units",),
    }

    def __init__(
        self, units: int, reset_after: bool = True, rank: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(units, rank, **kwargs)
        self.reset_after = reset_after

    def build_recurrent(self) -> None:
        super().build_recurrent()
        if self.reset_after:
            self.recurrent_bias = self.add_weight(
                name="recurrent_bias", shape=(3 * self.units,), initializer="zeros"
            )

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (h,) = states
        xz, xr, xh = tf.split(product, 3, axis=-1)
        if self.reset_after:
            recurrent = self.recurrent_product(h) + self.recurrent_bias
            hz, hr, hh = tf.split(recurrent, 3, axis=-1)
            r = tf.sigmoid(xr + hr)
            candidate = tf.tanh(xh + r * hh)
        else:
            hz, hr = tf.split(self.recurrent_product(h, slice(0, 2)), 2, axis=-1)
            r = tf.sigmoid(xr + hr)
            candidate = tf.tanh(xh + self.recurrent_product(r * h, slice(2, 3)))
        # z * h + (1 - z) * h~, with one product less and no constant 1 to quantize.
        h = candidate + tf.sigmoid(xz + hz) * (h - candidate)
        return h, (h,)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reset_after": self.reset_after}
