"""FastGRNN: a gated cell whose gate and candidate share their matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras as keras

from models.cells.cell import RecurrentCell
from models.errors import ModelsError

MIXINGS = ("fixed", "learned")


class FastGRNNCell(RecurrentCell):
    """a_t = W x_t + U h_{t-1}; z_t = sigmoid(a_t + b_z); h~_t = tanh(a_t + b_h);
    h_t = (zeta (1 - z_t) + nu) * h~_t + z_t * h_{t-1}; the output is h_t.

    With learned zeta and nu, both in (0, 1), |h| has no bound: |h| <= zeta + nu / (1 - z) holds
    where z stays below 1, but where z is near 1 every step adds up to nu and nothing takes it away.
    On streams that are never reset h does run away: a trained net of 32 units reached 77 within
    some thousand steps, which is the end of an int8 state. So zeta = 1 and nu = 0 are the default.
    Then h is a mean of candidates, |h| <= 1; only nu is given up for that, as another zeta with
    nu = 0 is but another scale of U and of the matrix above.

    Source: A. Kusupati et al., "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated
    recurrent neural network" (NeurIPS 2018); starts of zeta, nu and biases as in the authors' code.
    Weights: kernel W [inputs, H], recurrent_kernel U [H, H], bias b_z [H], candidate_bias b_h [H],
    and with learned zeta and nu mixing [2], both before their sigmoid.

    Args:
        units: number of hidden units H.
        mixing: "fixed" (zeta = 1, nu = 0) or "learned" (as in the paper; for sequences that have
            an end).
        rank: of U, see :class:`RecurrentCell`.
        input_rank: of W, see :class:`RecurrentCell`.

    Raises:
        ModelsError: there is no such mixing, or a rank is out of range.
    """

    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        **RecurrentCell.weight_axes,
        "candidate_bias": ("units",),
        "mixing": ("numbers",),
    }

    def __init__(
        self,
        units: int,
        mixing: str = "fixed",
        rank: int | None = None,
        input_rank: int | None = None,
        **kwargs: Any,
    ) -> None:
        if mixing not in MIXINGS:
            raise ModelsError(f"mixing must be one of {', '.join(MIXINGS)}, not {mixing!r}")
        super().__init__(units, rank, input_rank, **kwargs)
        self.mixing_kind = mixing

    @property
    def state_bounds(self) -> dict[str, float]:
        return {"h": 1.0} if self.mixing_kind == "fixed" else {}

    def initial_bias(self) -> Any:
        return "ones"

    def build_recurrent(self) -> None:
        super().build_recurrent()
        self.candidate_bias = self.add_weight(
            name="candidate_bias", shape=(self.units,), initializer="ones"
        )
        if self.mixing_kind == "learned":
            self.mixing = self.add_weight(
                name="mixing", shape=(2,), initializer=keras.initializers.Constant([1.0, -4.0])
            )

    def begin(self) -> tuple[tf.Tensor, ...]:
        """b_h - b_z, as b_z is part of the input's product; if they are learned, zeta and
        zeta + nu."""
        shift = self.candidate_bias - self.bias
        if self.mixing_kind == "fixed":
            return (shift,)
        zeta, nu = tf.unstack(tf.sigmoid(self.mixing))
        return shift, zeta, zeta + nu

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (h,) = states
        shift, *mixing = constants
        a = product + self.recurrent_product(h)
        z = tf.sigmoid(a)
        candidate = tf.tanh(a + shift)
        # Both the same as (zeta (1 - z) + nu) * h~ + z * h, with fewer products.
        if mixing:
            zeta, largest = mixing
            h = largest * candidate + z * (h - zeta * candidate)
        else:
            h = candidate + z * (h - candidate)
        return h, (h,)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mixing": self.mixing_kind}
