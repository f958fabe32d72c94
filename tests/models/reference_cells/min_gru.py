"""minGRU."""

import numpy as np

from tests.models.reference_cells.equations import Reference, from_input, sigmoid


def min_gru(x, states, weights, candidate="linear"):
    h = states["h"]
    z = sigmoid(from_input(x, weights, 0, len(h)))
    candidate_h = from_input(x, weights, 1, len(h))
    if candidate == "tanh":
        candidate_h = np.tanh(candidate_h)
    h = (1 - z) * h + z * candidate_h
    return h, {"h": h}


REFERENCE = Reference(min_gru, ({}, {"candidate": "tanh"}))
