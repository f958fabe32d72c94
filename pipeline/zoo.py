"""What there is to train: every cell and every task, with its source and what it is for."""

from __future__ import annotations

import sys
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
    """Name of each task and what it is, which its loader's module says first."""
    return [
        {"task": name, "purpose": _first_line(sys.modules[loader.__module__].__doc__)}
        for name, loader in TASKS.items()
    ]


def _first_line(docstring: str | None) -> str:
    paragraph = (docstring or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).removesuffix(".")
