"""An orthogonal recurrent unit whose matrix is constant."""

import numpy as np

from tests.models.reference_cells.equations import (
    Reference,
    gate_matrix,
    orthogonal_matrix,
    sigmoid,
)


def oru_candidate(x, h, weights):
    stacked = np.concatenate([h, x])
    z = gate_matrix(weights, 0, len(h)) @ stacked
    r = sigmoid(gate_matrix(weights, 1, len(h)) @ stacked)
    return np.tanh(r * z)


def oru(x, states, weights, reflections=None):
    del reflections  # as many as there are reflectors
    h = orthogonal_matrix(weights["reflectors"]) @ oru_candidate(x, states["h"], weights)
    return h, {"h": h}


REFERENCE = Reference(oru, ({}, {"reflections": 3}, {"rank": 3}))
