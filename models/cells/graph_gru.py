"""A GRU on the nodes of a graph: channels of sensors or body-worn devices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models.cells.cell import RecurrentCell
from models.errors import ModelsError

ADJACENCIES = ("uniform", "learned")


class GraphGRUCell(RecurrentCell):
    """A GRU whose products are graph convolutions, with one row of X_t [N, inputs / N] and of
    H_{t-1} [N, d] for each of N nodes, d = H / N, and an adjacency A [N, N]:

    G(X) = X W_self + A X W_mixed + b; R(H) = H U_self + A H U_mixed + c, blocks z, r, h~;
    z = sigmoid(G_z + R_z); r = sigmoid(G_r + R_r); h~ = tanh(G_h + r * R_h);
    H_t = z * H_{t-1} + (1 - z) * h~; the output is H_t, node after node.

    All nodes share the matrices, so that these are N^2 / 2 times smaller than those of a plain GRU
    with as many units, and go through one product together. What tells the nodes apart is b, which
    each has for itself, as channels of different sensors differ, and the adjacency.

    Sources: Y. Seo et al., "Structured sequence modeling with graph convolutional recurrent
    networks" (ICONIP 2018), their model 2 with a GRU and a filter of order 2; a learned adjacency
    with softmax: Z. Wu et al., "Graph WaveNet for deep spatial-temporal graph modeling" (2019).
    Weights: kernel [2 inputs / N, 3d] (W_self above W_mixed), recurrent_kernel [2d, 3d],
    bias [3H] (for each node its three blocks), recurrent_bias [3d], and with a learned adjacency
    adjacency_logits [N, N] before the softmax of each row.

    Args:
        units: number of hidden units H of all nodes together, a multiple of ``nodes``.
        nodes: number of nodes N, 2 or more, to which the inputs are dealt out in their order: the
            first inputs / N to the first node.
        adjacency: "uniform" (each node sees the mean of all others) or "learned" (a mean of all
            nodes with learned weights).

    Raises:
        ModelsError: sizes that do not divide, or there is no such adjacency.
    """

    gates = 3
    needs_equal_rows = True
    # Units cannot be cut out one by one: the nodes must stay of one size.
    weight_axes: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(
        self, units: int, nodes: int = 2, adjacency: str = "uniform", **kwargs: Any
    ) -> None:
        if type(nodes) is not int or nodes < 2 or units % nodes:
            raise ModelsError(
                f"nodes must be an integer of 2 or more that divides units ({units}), not {nodes!r}"
            )
        if adjacency not in ADJACENCIES:
            raise ModelsError(
                f"adjacency must be one of {', '.join(ADJACENCIES)}, not {adjacency!r}"
            )
        super().__init__(units, **kwargs)
        self.nodes = nodes
        self.width = units // nodes
        self.adjacency_kind = adjacency

    def build_input(self, inputs: int) -> None:
        if inputs % self.nodes:
            raise ModelsError(
                f"{inputs} inputs cannot be dealt out to {self.nodes} nodes; set nodes to a divisor"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(2 * inputs // self.nodes, 3 * self.width),
            initializer="glorot_uniform",
        )

    def build_recurrent(self) -> None:
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(2 * self.width, 3 * self.width),
            initializer="orthogonal",
        )  # fmt: skip
        self.recurrent_bias = self.add_weight(
            name="recurrent_bias", shape=(3 * self.width,), initializer="zeros"
        )
        if self.adjacency_kind == "learned":
            self.adjacency_logits = self.add_weight(
                name="adjacency_logits", shape=(self.nodes, self.nodes), initializer="zeros"
            )

    def adjacency(self) -> tf.Tensor:
        """A [N, N]: each row the weights, which add up to 1, of what a node sees."""
        if self.adjacency_kind == "learned":
            return tf.nn.softmax(self.adjacency_logits)
        others = 1 - np.eye(self.nodes, dtype=np.float32)
        return tf.constant(others / (self.nodes - 1))

    def input_matrices(self) -> tuple[tf.Tensor, ...]:
        """The graph convolution of a whole frame as one matrix [inputs, N * 3d]: inputs are few,
        and so it swallows a normalization and costs no operator for the mixing."""
        own, mixed = tf.split(self.kernel, 2)
        to_node = [tf.eye(self.nodes), tf.transpose(self.adjacency())]
        # [node, its inputs, node that sees, 3d]; an einsum of this size the converter gets wrong.
        blocks = sum(
            share[:, tf.newaxis, :, tf.newaxis] * matrix[:, tf.newaxis, :]
            for share, matrix in zip(to_node, (own, mixed), strict=True)
        )
        return (tf.reshape(blocks, (-1, self.gates * self.units)),)

    def begin(self) -> tuple[tf.Tensor, ...]:
        """The transpose of A as [1, N, N, 1], U_self, U_mixed."""
        mixing = tf.reshape(tf.transpose(self.adjacency()), (1, self.nodes, self.nodes, 1))
        return mixing, *tf.split(self.recurrent_kernel, 2)

    def step(
        self, product: tf.Tensor, states: tuple[tf.Tensor, ...], constants: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        (h,) = states
        mixing, own, mixed = constants
        # Every node is a row: one product for all of them.
        nodes = tf.reshape(h, (-1, self.width))
        # [batch, node seen, node that sees, d]: with the axis of 1 in the middle the converter
        # leaves the batch axis where it is.
        seen = tf.reduce_sum(mixing * tf.reshape(h, (-1, self.nodes, 1, self.width)), 1)
        seen = tf.reshape(seen, (-1, self.width))
        recurrent = tf.matmul(nodes, own) + self.recurrent_bias + tf.matmul(seen, mixed)
        given = tf.reshape(product, (-1, 3 * self.width))
        xz, xr, xh = tf.split(given, 3, axis=-1)
        hz, hr, hh = tf.split(recurrent, 3, axis=-1)
        candidate = tf.tanh(xh + tf.sigmoid(xr + hr) * hh)
        # z * h + (1 - z) * h~, with one product less and no constant 1 to quantize.
        h = candidate + tf.sigmoid(xz + hz) * (nodes - candidate)
        h = tf.reshape(h, (-1, self.units))
        return h, (h,)

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(), "nodes": self.nodes, "adjacency": self.adjacency_kind
        }  # fmt: skip
        for rank in ("rank", "input_rank"):
            del config[rank]
        return config
