"""Every cell that is listed, in every form that its reference names."""

import pytest

from models.cells import CELLS
from tests.checks.cells import check_cell
from tests.models.reference_cells import REFERENCES


def test_no_reference_is_left_without_a_cell():
    assert set(REFERENCES) <= set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_cell(name):
    check_cell(name)
