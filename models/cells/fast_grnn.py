"""FastGRNN: a gated cell whose gate and candidate share their matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras as keras

from models.cells.cell import RecurrentCell


class FastGRNNCell(RecurrentCell):
    """a_t = W x_t + U h_{t-1}; z_t = sigmoid(a_t + b_z); h~_t = tanh(a_t + b_h);
    h_t = (zeta (1 - z_t) + nu) * h~_t + z_t * h_{t-1}; the output is h_t.

    zeta and nu are learned numbers in (0, 1), sigmoids of what is stored. |h| has no bound: per
    step it grows by up to nu + zeta (1 - z), and at z near 1 nothing takes that away again
    (|h| <= zeta + nu / (1 - z) where z stays below 1, which the equations do not guarantee).

    Source: A. Kusupati et al., "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated
    recurrent neural network" (NeurIPS 2018); starts of zeta, nu and biases as in the authors' code.
    Weights: kernel W [inputs, H], recurrent_kernel U [H, H], bias b_z [H], candidate_bias b_h [H],
    mixing [2] (zeta, nu before the sigmoid).

    Args:
        units: number of hidden units H.
        rank: of U, see :class:`RecurrentCell`.
        input_rank: of W, see :class:`RecurrentCell`.
    """

    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        **RecurrentCell.weight_axes,
        "candidate_bias": ("units",),
        "mixing": ("numbers",),
    }

    @property
    def state_bounds(self) -> dict[str, float]:
        return {}

    def initial_bias(self) -> Any:
        return "ones"

    def build_recurrent(self) -> None:
        super().build_recurrent()
        self.candidate_bias = self.add_weight(
            name="candidate_bias", shape=(self.units,), initializer="ones"
        )
        self.mixing = self.add_weight(
            name="mixing", shape=(2,), initializer=keras.initializers.Constant([1.0, -4.0])
        )

    def begin(self) -> tuple[tf.Tensor, ...]:
        """b_h - b_z, as b_z is part of the input's product; zeta; zeta + nu."""
        zeta, nu = tf.unstack(tf.sigmoid(self.mixing))
        return self.candidate_bias - self.bias, zeta, zeta + nu

    def step(self, product, states, constants):
        (h,) = states
        shift, zeta, largest = constants
        a = product + self.recurrent_product(h)
        z = tf.sigmoid(a)
        candidate = tf.tanh(a + shift)
        # The same as (zeta (1 - z) + nu) * h~ + z * h, with one product less.
        h = largest * candidate + z * (h - zeta * candidate)
        return h, (h,)
