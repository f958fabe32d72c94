"""An orthogonal recurrent unit whose matrix follows the state."""

from tests.models.reference_cells.equations import Reference, householder
from tests.models.reference_cells.oru import oru_candidate


def state_oru(x, states, weights):
    v = weights["reflector_kernel"].T @ states["h"] + weights["reflector_bias"]
    h = householder(v) @ oru_candidate(x, states["h"], weights)
    return h, {"h": h}


REFERENCE = Reference(state_oru, ({}, {"rank": 3}))
