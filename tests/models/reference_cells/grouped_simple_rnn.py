"""A simple recurrent network in groups."""

from tests.models.reference_cells.equations import Reference
from tests.models.reference_cells.in_groups import grouped
from tests.models.reference_cells.simple_rnn import simple_rnn

REFERENCE = Reference(grouped(simple_rnn), ({"groups": 2},))
