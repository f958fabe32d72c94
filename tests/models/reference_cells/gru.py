"""A gated recurrent unit."""

import numpy as np

from tests.models.reference_cells.equations import (
    Reference,
    block,
    gate_matrix,
    sigmoid,
)


def gru(x, states, weights, reset_after=True):
    h = states["h"]
    units = len(h)
    stacked = np.concatenate([h, x])

    def gate(index):
        bias = block(weights["bias"], index, units)
        if reset_after:
            bias = bias + block(weights["recurrent_bias"], index, units)
        return sigmoid(gate_matrix(weights, index, units) @ stacked + bias)

    z, r = gate(0), gate(1)
    from_input = block(weights["kernel"], 2, units).T @ x + block(weights["bias"], 2, units)
    u_h = block(weights["recurrent_kernel"], 2, units).T
    if reset_after:
        from_state = r * (u_h @ h + block(weights["recurrent_bias"], 2, units))
    else:
        from_state = u_h @ (r * h)
    candidate = np.tanh(from_input + from_state)
    h = z * h + (1 - z) * candidate
    return h, {"h": h}


REFERENCE = Reference(
    gru,
    (
        {"reset_after": True},
        {"reset_after": False},
        {"reset_after": True, "rank": 3},
        {"reset_after": False, "rank": 3},
    ),
)
