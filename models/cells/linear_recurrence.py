"""Cells whose gates do not look at the state, so that training needs no loop over time.

h_t = (1 - u_t) * h_{t-1} + u_t * h~_t with u_t and h~_t computed from x_t alone. Over a whole
sequence this is a linear recurrence h_t = a_t h_{t-1} + b_t, whose solution is a prefix "sum" under
the associative operation (a, b), (a', b') -> (a a', a' b + b'), and is computed in about
2 log2(steps) operations on whole sequences. As every a_t lies in [0, 1], the products only ever
get smaller: nothing can overflow, and no logarithms are needed (L. Feng et al. work in them).

Sources: G. Blelloch, "Prefix sums and their applications" (1990); E. Martin and C. Cundy,
"Parallelizing linear recurrent neural nets over sequence length" (ICLR 2018), for the derivative.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.cells.cell import RecurrentCell
from models.errors import ModelsError

CANDIDATES = ("linear", "tanh")


class LinearRecurrenceCell(RecurrentCell):
    """Base of such cells. A subclass sets ``gates``, of which the last is the candidate's, and
    gives u_t in ``update`` and its sequence form in ``parallel_update``.

    Args:
        units: number of hidden units H.
        candidate: "linear" (h~_t is the product itself, as in the paper) or "tanh" (h~_t is the
            product's tanh, which bounds the state by 1: one operator more, and an int8 state whose
            grid need not be calibrated).

    Raises:
        ModelsError: there is no such candidate.
    """

    def __init__(self, units: int, candidate: str = "linear", **kwargs: Any) -> None:
        if candidate not in CANDIDATES:
            raise ModelsError(
                f"candidate must be one of {', '.join(CANDIDATES)}, not {candidate!r}"
            )
        super().__init__(units, **kwargs)
        self.candidate = candidate

    @property
    def state_bounds(self) -> dict[str, float]:
        """Every h is a mean of candidates, so it is bounded where they are."""
        return {"h": 1.0} if self.candidate == "tanh" else {}

    def build_recurrent(self) -> None:
        """There are no recurrent weights."""

    def recurrent_factors(self) -> tuple[tf.Variable, ...]:
        return ()

    def update(self, *gates: tf.Tensor) -> tf.Tensor:
        """u_t [..., H] in (0, 1) from the pre-activations of the gates, as a step computes it."""
        raise NotImplementedError

    def parallel_update(self, *gates: tf.Tensor) -> tf.Tensor:
        """The same, as training computes it."""
        return self.update(*gates)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (h,) = states
        *gates, candidate = tf.split(product, self.gates, axis=-1)
        # (1 - u) * h + u * h~, with one product less and no constant 1 to quantize.
        h = h + self.update(*gates) * (self._activated(candidate) - h)
        return h, (h,)

    def parallel(self, product: tf.Tensor) -> tf.Tensor | None:
        if product.shape[1] is None:
            return None
        *gates, candidate = tf.split(product, self.gates, axis=-1)
        update = self.parallel_update(*gates)
        return linear_recurrence(1 - update, update * self._activated(candidate))

    def _activated(self, candidate: tf.Tensor) -> tf.Tensor:
        return tf.tanh(candidate) if self.candidate == "tanh" else candidate

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "candidate": self.candidate}
        for rank in ("rank", "input_rank"):
            del config[rank]
        return config


@tf.custom_gradient
def linear_recurrence(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """h_t = a_t h_{t-1} + b_t from h_{-1} = 0, for all t at once.

    Args:
        a: factors in [0, 1], [batch, steps, H] with a known number of steps, 1 or more.
        b: as ``a``, of any value.

    Returns:
        h [batch, steps, H]. Its derivative is the same recurrence backwards in time, so that the
        memory it takes grows with the steps alone.
    """
    h = _scan(a, b)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # What comes back to h_t is upstream_t plus a_{t+1} times what comes back to h_{t+1}.
        later = tf.concat([a[:, 1:], tf.zeros_like(a[:, :1])], 1)
        back = tf.reverse(_scan(tf.reverse(later, [1]), tf.reverse(upstream, [1])), [1])
        before = tf.concat([tf.zeros_like(h[:, :1]), h[:, :-1]], 1)
        return back * before, back

    return h, gradient


def _scan(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The recurrence by halving: two steps are joined to one, the half as long recurrence gives
    every second h, and these give the others."""
    steps = a.shape[1]
    if steps == 1:
        return b
    pairs = steps // 2
    a_odd, b_odd = a[:, 1::2], b[:, 1::2]
    odd = _scan(a_odd * a[:, : 2 * pairs : 2], a_odd * b[:, : 2 * pairs : 2] + b_odd)
    a_even, b_even = a[:, 2::2], b[:, 2::2]
    even = tf.concat([b[:, :1], a_even * odd[:, : a_even.shape[1]] + b_even], 1)
    joined = tf.stack([even[:, :pairs], odd], 2)
    joined = tf.reshape(joined, (tf.shape(a)[0], 2 * pairs, a.shape[2]))
    return joined if steps % 2 == 0 else tf.concat([joined, even[:, pairs:]], 1)
