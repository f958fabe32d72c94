"""minLSTM."""

import numpy as np

from tests.models.reference_cells.equations import Reference, from_input, sigmoid


def min_lstm(x, states, weights, candidate="linear"):
    h = states["h"]
    f = sigmoid(from_input(x, weights, 0, len(h)))
    i = sigmoid(from_input(x, weights, 1, len(h)))
    candidate_h = from_input(x, weights, 2, len(h))
    if candidate == "tanh":
        candidate_h = np.tanh(candidate_h)
    h = f / (f + i) * h + i / (f + i) * candidate_h
    return h, {"h": h}


REFERENCE = Reference(min_lstm, ({}, {"candidate": "tanh"}))
