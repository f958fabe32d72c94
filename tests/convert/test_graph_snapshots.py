"""The structure of every cell's step graph in every scheme is what it was."""

from __future__ import annotations

import pytest

from convert.schemes import SCHEMES
from tests.conftest import VARIANTS
from tests.convert.graph_snapshots import COMMAND, FOLDER, file_of, snapshots


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
def test_a_cells_graphs_are_the_stored_ones(cell, options):
    for scheme, text in snapshots(cell, options).items():
        path = file_of(cell, options, scheme)
        assert path.read_text(encoding="utf-8") == text, f"meant so? write it anew: {COMMAND}"


def test_no_snapshot_is_of_something_else():
    expected = {file_of(cell, options, s) for cell, options in VARIANTS for s in SCHEMES}
    assert set(FOLDER.glob("*.txt")) == expected
