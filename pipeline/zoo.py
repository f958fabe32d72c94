"""What there is to train: every cell and every task, with its source and what it is for."""

from __future__ import annotations

from typing import Any

from models.cells import CELLS
from models.tasks import TASKS

# What the parameters of a cell are counted with.
UNITS = 64
INPUTS = 12


def cells() -> list[dict[str, Any]]:
    """Name, number of parameters (of UNITS units on INPUTS inputs), source and purpose of each
    cell."""
    import numpy as np

    from models.cells import make_cell

    found = []
    for name, entry in CELLS.items():
        cell = make_cell(name, UNITS)
        cell.build((1, INPUTS))
        count = sum(int(np.prod(weight.shape)) for weight in cell.trainable_weights)
        found.append(
            {"cell": name, "parameters": count, "source": entry.source, "purpose": entry.purpose}
        )
    return found


def tasks() -> list[dict[str, Any]]:
    """Name, source and purpose of each task."""
    return [
        {"task": name, "source": entry.source, "purpose": entry.purpose}
        for name, entry in TASKS.items()
    ]
