"""A gated recurrent unit with attention to a window."""

import numpy as np

from tests.models.reference_cells.equations import (
    Reference,
    block,
    from_input,
    gate_matrix,
    sigmoid,
)


def attentive_gru(x, states, weights, window=16, heads=4):
    h = states["h"]
    units = len(h)
    stacked = np.concatenate([h, x])

    def gate(index):
        return gate_matrix(weights, index, units) @ stacked + block(weights["bias"], index, units)

    z, r = sigmoid(gate(0)), sigmoid(gate(1))
    u_h = block(weights["recurrent_kernel"], 2, units).T
    h = z * h + (1 - z) * np.tanh(from_input(x, weights, 2, units) + r * (u_h @ h))
    q = (weights["query_kernel"].T @ h + weights["query_bias"]).reshape(heads, -1)
    keys, values = states["k"].copy(), states["v"].copy()
    contexts = []
    for head in range(heads):
        k, v = (np.tanh(gate(index)).reshape(heads, -1)[head] for index in (3, 4))
        keys[head] = np.vstack([keys[head][1:], k])
        values[head] = np.vstack([values[head][1:], v])
        powers = [np.exp(np.dot(keys[head][slot], q[head])) for slot in range(window)]
        contexts.append(
            sum(p * value for p, value in zip(powers, values[head], strict=True)) / sum(powers)
        )
    mixed = weights["state_mix"].T @ h + weights["context_mix"].T @ np.concatenate(contexts)
    return np.tanh(mixed + weights["mix_bias"]), {"h": h, "k": keys, "v": values}


REFERENCE = Reference(attentive_gru, ({}, {"window": 3, "heads": 2}))
