"""What cells share that attend over the keys and values of their last steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from models.cells.cell import RecurrentCell
from models.cells.linear_attention import checked_heads
from models.errors import ModelsError


class RememberedWindowCell(RecurrentCell):
    """Its last two states are the keys and values of the last W steps, each
    [heads, W, H / heads], the oldest step first.

    Args:
        units: number of outputs H, a multiple of ``heads``.
        window: number of steps W that a step sees, itself among them, 2 or more.
        heads: number of heads, H / heads keys and values each.

    Raises:
        ModelsError: sizes that do not divide or are too small.
    """

    needs_equal_rows = True
    # Units cannot be cut out one by one: the heads must stay of one size.
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, units: int, window: int = 16, heads: int = 4, **kwargs: Any) -> None:
        if type(window) is not int or window < 2:
            raise ModelsError(f"window must be an integer of 2 or more, not {window!r}")
        self.heads = checked_heads(units, heads)
        self.width = units // heads
        self.window = window
        super().__init__(units, **kwargs)

    @property
    def remembered_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of keys and values."""
        return ((self.heads, self.window, self.width),) * 2

    def remember(self, old: Sequence[tf.Tensor], new: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Move keys and values up by one and append a step's, [batch, H] each."""
        row = (-1, self.heads, 1, self.width)
        return tuple(
            tf.concat([before[:, :, 1:], tf.reshape(one, row)], 2)
            for before, one in zip(old, new, strict=True)
        )

    def attend(
        self, query: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, bias: tf.Tensor | None = None
    ) -> tf.Tensor:
        """What a query [batch, H] finds, the heads one after the other: [batch, H].

        Args:
            bias: added to the scores, [heads, W].
        """
        # As products and sums: they are right in every runtime's integers, a BATCH_MATMUL is not.
        scores = tf.reduce_sum(keys * tf.reshape(query, (-1, self.heads, 1, self.width)), 3)
        if bias is not None:
            scores = scores + bias
        weights = tf.reshape(tf.nn.softmax(scores), (-1, self.heads, self.window, 1))
        return tf.reshape(tf.reduce_sum(weights * values, 2), (-1, self.units))

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "window": self.window, "heads": self.heads}
        for rank in ("rank", "input_rank"):
            del config[rank]
        return config
