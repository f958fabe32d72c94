"""Long short-term memory in groups."""

from tests.models.reference_cells.equations import Reference
from tests.models.reference_cells.in_groups import grouped
from tests.models.reference_cells.lstm import lstm

REFERENCE = Reference(grouped(lstm))
