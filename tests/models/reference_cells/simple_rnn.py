"""A simple recurrent network."""

import numpy as np

from tests.models.reference_cells.equations import Reference


def simple_rnn(x, states, weights):
    w_hx, w_hh, b_h = weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"]
    h = np.tanh(w_hx @ x + w_hh @ states["h"] + b_h)
    return h, {"h": h}


REFERENCE = Reference(simple_rnn, ({}, {"rank": 3}))
