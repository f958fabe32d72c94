"""Long short-term memory."""

import numpy as np

from tests.models.reference_cells.equations import Reference, block, gate_matrix, sigmoid


def lstm(x, states, weights):
    units = len(states["h"])
    stacked = np.concatenate([states["h"], x])

    def pre_activation(gate):
        return gate_matrix(weights, gate, units) @ stacked + block(weights["bias"], gate, units)

    input_gate, forget_gate = sigmoid(pre_activation(0)), sigmoid(pre_activation(1))
    candidate, output_gate = np.tanh(pre_activation(2)), sigmoid(pre_activation(3))
    c = forget_gate * states["c"] + input_gate * candidate
    h = output_gate * np.tanh(c)
    return h, {"h": h, "c": c}


REFERENCE = Reference(lstm, ({}, {"rank": 3}))
