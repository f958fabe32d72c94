"""Linear attention."""

import numpy as np

from tests.models.reference_cells.equations import Reference, query_key_value, sigmoid


def linear_attention(x, states, weights, heads=4):
    units = len(weights["bias"]) // 3
    q, k, v = query_key_value(x, weights, units, heads)
    q, k, v = sigmoid(q), sigmoid(k), np.tanh(v)
    a = sigmoid(weights["rate"])
    s = np.empty_like(states["s"])
    z = np.empty_like(states["z"])
    outputs = []
    for head in range(heads):
        s[head] = (1 - a[head]) * states["s"][head] + a[head] * np.outer(k[head], v[head])
        z[head, :, 0] = (1 - a[head]) * states["z"][head, :, 0] + a[head] * k[head]
        normalizer = np.dot(z[head, :, 0], q[head]) + len(q[head]) / 64
        outputs.append(s[head].T @ q[head] / normalizer)
    return np.concatenate(outputs), {"s": s, "z": z}


REFERENCE = Reference(linear_attention, ({}, {"heads": 1}), positive=("z",))
