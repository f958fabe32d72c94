"""A gated recurrent unit in groups."""

from tests.models.reference_cells.equations import Reference
from tests.models.reference_cells.gru import gru
from tests.models.reference_cells.in_groups import grouped

REFERENCE = Reference(grouped(gru), ({}, {"groups": 2, "split_inputs": True}))
