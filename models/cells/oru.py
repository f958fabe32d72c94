"""Orthogonal recurrent unit, in both readings of its orthogonal matrix Q.

z_t = W_z [h_{t-1}, x_t]; r_t = sigmoid(W_r [h_{t-1}, x_t]); h~_t = tanh(r_t * z_t);
h_t = Q h~_t with Q^T Q = I; the output is h_t.

The survey writes Q with the subscript h_{t-1}. Read as a name, Q is one learned matrix
(:class:`ORUCell`); read as a dependence, Q is computed from h_{t-1} (:class:`StateORUCell`).
Householder reflections keep either exactly orthogonal: Z. Mhammedi et al., "Efficient orthogonal
parametrisation of recurrent neural networks using Householder reflections" (2017).
"""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras as keras

from models.cells.cell import RecurrentCell
from models.errors import ModelsError


class _GatedOrthogonalCell(RecurrentCell):
    """What both readings share. Weights: kernel [inputs, 2H] and recurrent_kernel [H, 2H],
    blocks in the order z, r; the equations have no bias. ``rank`` is that of the recurrent matrix:
    an orthogonal matrix has full rank, and is never factorized."""

    gates = 2
    use_bias = False

    @property
    def state_bounds(self) -> dict[str, float]:
        """tanh bounds h~ by 1; a rotation can gather all H coordinates in one, up to sqrt(H)."""
        return {}

    def _candidate(self, product: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
        z, r = tf.split(product + self.recurrent_product(h), 2, axis=-1)
        return tf.tanh(tf.sigmoid(r) * z)


class ORUCell(_GatedOrthogonalCell):
    """ORU with one learned Q: a product of Householder reflections, constant in time.

    Args:
        units: number of hidden units H.
        reflections: how many reflections make up Q; H reach every orthogonal matrix of
            determinant (-1)^H, fewer save parameters (H each). Default: H.
        rank: of the recurrent matrix, see :class:`RecurrentCell`.
    """

    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        **RecurrentCell.weight_axes,
        "reflectors": ("units", "reflections"),
    }

    def __init__(
        self,
        units: int,
        reflections: int | None = None,
        rank: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, rank, **kwargs)
        self.reflections = units if reflections is None else reflections
        if not 1 <= self.reflections <= units:
            raise ModelsError(f"reflections must be from 1 to units ({units}), not {reflections}")

    def build_recurrent(self) -> None:
        super().build_recurrent()
        self.reflectors = self.add_weight(
            name="reflectors", shape=(self.units, self.reflections), initializer="random_normal"
        )

    def orthogonal_matrix(self) -> tf.Tensor:
        """Q [H, H], float32: I - V T^-1 V^T with T the upper triangle of V^T V and half its
        diagonal, which is the product of the reflections I - 2 v v^T / v^T v over the columns v
        of V (T. Joffrain et al., "Accumulating Householder transformations, revisited", 2006).

        Computed in float64: in float32 the rounding of the triangular solve alone reaches the
        1e-5 that orthogonality is held to.
        """
        v = tf.cast(self.reflectors, tf.float64)
        gram = tf.matmul(v, v, transpose_a=True)
        triangle = tf.linalg.set_diag(
            tf.linalg.band_part(gram, 0, -1), 0.5 * tf.linalg.diag_part(gram)
        )
        solved = tf.linalg.triangular_solve(triangle, tf.transpose(v), lower=False)
        q = tf.eye(self.units, dtype=tf.float64) - tf.matmul(v, solved)
        return tf.cast(q, tf.float32)

    def unit_basis(self) -> tf.Tensor:
        """Q: a unit is a coordinate of h~ = Q^T h. No coordinate of h belongs to one unit, as Q
        mixes them all."""
        return self.orthogonal_matrix()

    @classmethod
    def options_for(cls, options: dict[str, Any], units: int) -> dict[str, Any]:
        """No more reflections than units."""
        reflections = options.get("reflections")
        if reflections is None:
            return options
        return {**options, "reflections": min(reflections, units)}

    def begin(self) -> tuple[tf.Tensor, ...]:
        return (self.orthogonal_matrix(),)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (q,) = constants
        # Row vectors: h Q^T is Q applied to the column h.
        h = tf.matmul(self._candidate(product, states[0]), q, transpose_b=True)
        return h, (h,)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reflections": self.reflections}


class StateORUCell(_GatedOrthogonalCell):
    """ORU whose Q depends on the state: one Householder reflection Q = I - 2 u u^T with
    u = v / |v|, v = V h_{t-1} + b_v, computed at every step.

    Further weights: reflector_kernel [H, H], reflector_bias [H] (starts as a unit-scale random
    vector, so that v is not zero at h = 0).

    Args:
        units: number of hidden units H.
        rank: of recurrent_kernel, see :class:`RecurrentCell`; reflector_kernel stays whole.
    """

    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {
        **RecurrentCell.weight_axes,
        "reflector_kernel": ("outputs", "units"),
        "reflector_bias": ("units",),
    }

    # Keeps the reflection defined at v = 0, where any direction would do.
    EPSILON = 1e-12

    def build_recurrent(self) -> None:
        super().build_recurrent()
        self.reflector_kernel = self.add_weight(
            name="reflector_kernel", shape=(self.units, self.units), initializer="orthogonal"
        )
        self.reflector_bias = self.add_weight(
            name="reflector_bias",
            shape=(self.units,),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )

    def reflector(self, h: tf.Tensor) -> tf.Tensor:
        """The unit vector u [batch, H] across which the step from state ``h`` reflects."""
        v = tf.matmul(h, self.reflector_kernel) + self.reflector_bias
        squared = tf.reduce_sum(v * v, axis=-1, keepdims=True)
        return v * tf.math.rsqrt(squared + self.EPSILON)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (h,) = states
        u = self.reflector(h)
        candidate = self._candidate(product, h)
        along = tf.reduce_sum(u * candidate, axis=-1, keepdims=True)
        h = candidate - 2.0 * along * u
        return h, (h,)

    def get_prunable_weights(self) -> list[tf.Variable]:
        return [*super().get_prunable_weights(), self.reflector_kernel]
