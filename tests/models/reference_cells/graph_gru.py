"""A GRU per node of a graph."""

import numpy as np

from tests.models.reference_cells.equations import Reference, block, sigmoid


def graph_gru(x, states, weights, nodes=2, adjacency="uniform"):
    h = states["h"].reshape(nodes, -1)
    width = h.shape[1]
    a = (np.ones((nodes, nodes)) - np.eye(nodes)) / (nodes - 1)
    if adjacency == "learned":
        powers = np.exp(weights["adjacency_logits"])
        a = powers / powers.sum(1, keepdims=True)

    def convolution(signal, stored):
        own, mixed = np.split(stored, 2)
        return signal @ own + a @ signal @ mixed

    given = convolution(np.reshape(x, (nodes, -1)), weights["kernel"])
    given = given + weights["bias"].reshape(nodes, -1)
    recurrent = convolution(h, weights["recurrent_kernel"]) + weights["recurrent_bias"]
    z = sigmoid(block(given, 0, width) + block(recurrent, 0, width))
    r = sigmoid(block(given, 1, width) + block(recurrent, 1, width))
    candidate = np.tanh(block(given, 2, width) + r * block(recurrent, 2, width))
    h = (z * h + (1 - z) * candidate).reshape(-1)
    return h, {"h": h}


REFERENCE = Reference(graph_gru, ({}, {"adjacency": "learned"}))
