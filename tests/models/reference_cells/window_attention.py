"""Attention to a window."""

import numpy as np

from tests.models.reference_cells.equations import Reference, query_key_value


def window_attention(x, states, weights, window=16, heads=4):
    units = len(weights["bias"]) // 3
    q, k, v = query_key_value(x, weights, units, heads)
    keys, values = states["k"].copy(), states["v"].copy()
    outputs = []
    for head in range(heads):
        keys[head] = np.vstack([keys[head][1:], np.tanh(k[head])])
        values[head] = np.vstack([values[head][1:], np.tanh(v[head])])
        powers = [
            np.exp(np.dot(keys[head][slot], q[head]) + weights["distance_bias"][head, slot])
            for slot in range(window)
        ]
        outputs.append(
            sum(p * value for p, value in zip(powers, values[head], strict=True)) / sum(powers)
        )
    return np.concatenate(outputs), {"k": keys, "v": values}


REFERENCE = Reference(window_attention, ({}, {"window": 3, "heads": 2}))
