"""FastGRNN."""

import numpy as np

from tests.models.reference_cells.equations import Reference, sigmoid


def fast_grnn(x, states, weights, mixing="fixed"):
    w, u = weights["kernel"].T, weights["recurrent_kernel"].T
    b_z, b_h = weights["bias"], weights["candidate_bias"]
    zeta, nu = sigmoid(weights["mixing"]) if mixing == "learned" else (1, 0)
    h = states["h"]
    z = sigmoid(w @ x + u @ h + b_z)
    candidate = np.tanh(w @ x + u @ h + b_h)
    h = (zeta * (1 - z) + nu) * candidate + z * h
    return h, {"h": h}


REFERENCE = Reference(
    fast_grnn,
    ({}, {"mixing": "learned"}, {"rank": 3}, {"rank": 3, "input_rank": 2, "mixing": "learned"}),
)
