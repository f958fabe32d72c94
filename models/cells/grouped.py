"""Cells whose state is cut into groups that do not see each other.

The recurrent matrix has a block per group and nothing between the groups, so it holds a G-th of the
parameters. Groups see each other through the layer above, whose whole input matrix mixes them. With
``split_inputs`` the input matrix has blocks only, too. Then the inputs are dealt to the groups one
by one, like cards (the paper's shuffle between layers), so every group reads some units of every
group below.

Source: F. Gao et al., "Efficient sequence learning with group recurrent networks" (NAACL 2018).

A step computes one small product per group. From about 128 units on (64 in float32) that is faster
than one product with the blocks in a matrix that is zero elsewhere; see
benchmarks/grouped_products.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from models.cells.cell import RecurrentCell
from models.cells.gru import GRUCell
from models.cells.lstm import LSTMCell
from models.cells.simple_rnn import SimpleRNNCell
from models.errors import ModelsError


class GroupedCell(RecurrentCell):
    """Mix-in that cuts the H units of a cell into G groups of H / G units each.

    It stands before the cell among the base classes.

    Weights as the cell's, but recurrent_kernel [H / G, gates * H], and with ``split_inputs``
    kernel [inputs / G, gates * H]: a column holds what its unit takes from its own group.

    Args:
        units: number of hidden units H, a multiple of ``groups``.
        groups: G, 2 or more.
        split_inputs: whether each group reads a G-th of the inputs alone (input i goes to group
            i modulo G) instead of all. The inputs must then be a multiple of ``groups``.

    Raises:
        ModelsError: sizes that do not divide.
    """

    # Units cannot be cut out one by one: the groups must stay of one size.
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(
        self, units: int, groups: int = 4, split_inputs: bool = False, **kwargs: Any
    ) -> None:
        if type(groups) is not int or groups < 2 or units % groups:
            raise ModelsError(
                f"groups must be an integer of 2 or more that divides units ({units}), "
                f"not {groups!r}"
            )
        super().__init__(units, **kwargs)
        self.groups = groups
        self.split_inputs = split_inputs

    def build_input(self, inputs: int) -> None:
        if self.split_inputs and inputs % self.groups:
            raise ModelsError(
                f"{inputs} inputs cannot be split into {self.groups} groups; "
                "set split_inputs to false or groups to a divisor"
            )
        super().build_input(inputs // self.groups if self.split_inputs else inputs)

    def build_recurrent(self) -> None:
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units // self.groups, self.gates * self.units),
            initializer="orthogonal",
        )

    def input_matrices(self) -> tuple[tf.Tensor, ...]:
        if not self.split_inputs:
            return super().input_matrices()
        blocks = self._blocks(self.kernel)[:, tf.newaxis]
        own = tf.eye(self.groups)[tf.newaxis, :, tf.newaxis, :, tf.newaxis]
        return (tf.reshape(blocks * own, (-1, self.gates * self.units)),)

    def recurrent_product(self, h: tf.Tensor, gates: slice | None = None) -> tf.Tensor:
        blocks = self._blocks(self.recurrent_kernel)
        if gates is not None:
            blocks = blocks[:, gates]
        size, count = self.units // self.groups, blocks.shape[1]
        if h.shape[0] != 1:
            grouped = tf.reshape(h, (-1, self.groups, size))
            return tf.reshape(
                tf.einsum("bgi,ikgj->bkgj", grouped, blocks), (-1, count * self.units)
            )
        # A step on a device, where operators of many axes are not to be had in int8.
        products = tf.concat(
            [
                tf.matmul(part, tf.reshape(blocks[:, :, group], (size, count * size)))
                for group, part in enumerate(tf.split(h, self.groups, axis=-1))
            ],
            axis=-1,
        )
        if count == 1:
            return products
        by_gate = tf.transpose(tf.reshape(products, (1, self.groups, count, size)), (0, 2, 1, 3))
        return tf.reshape(by_gate, (1, count * self.units))

    def _blocks(self, matrix: tf.Tensor) -> tf.Tensor:
        """[rows, gates, G, H / G] of a matrix [rows, gates * H]."""
        return tf.reshape(matrix, (-1, self.gates, self.groups, self.units // self.groups))

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(), "groups": self.groups, "split_inputs": self.split_inputs
        }  # fmt: skip
        for rank in ("rank", "input_rank"):
            del config[rank]
        return config


class GroupedSimpleRNNCell(GroupedCell, SimpleRNNCell):
    """A grouped :class:`models.cells.simple_rnn.SimpleRNNCell`."""


class GroupedLSTMCell(GroupedCell, LSTMCell):
    """A grouped :class:`models.cells.lstm.LSTMCell`."""


class GroupedGRUCell(GroupedCell, GRUCell):
    """A grouped :class:`models.cells.gru.GRUCell`, with the reset gate after the product."""

    def build_recurrent(self) -> None:
        super().build_recurrent()
        self.recurrent_bias = self.add_weight(
            name="recurrent_bias", shape=(3 * self.units,), initializer="zeros"
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["reset_after"]
        return config
