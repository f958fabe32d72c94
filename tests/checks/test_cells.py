"""Every cell that is listed, in every form that its reference names."""

import pytest

from models.cells import CELLS
from tests.checks.cells import check_cell
from tests.models.reference_cells import REFERENCES

VARIANTS = [
    pytest.param(name, options, id="-".join([name, *(f"{k}={v}" for k, v in options.items())]))
    for name, reference in REFERENCES.items()
    for options in reference.options
]


def test_every_cell_has_a_reference():
    missing = set(CELLS) - set(REFERENCES)
    assert not missing, (
        f"no reference for {sorted(missing)}: write one step of it in NumPy from its equations "
        "and add a row to REFERENCES in tests/models/reference_cells.py"
    )
    assert set(REFERENCES) <= set(CELLS), "a reference without a cell: remove it"
    assert all({} in reference.options for reference in REFERENCES.values())


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_cell(name, options):
    check_cell(name, options)
