"""List what there is to train: cells, ways to stack them, and tasks, with source and purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from models.cells import CELLS
from models.tasks import TASKS

# The sizes for which a cell's parameters are counted.
UNITS = 64
INPUTS = 12


def cells() -> list[dict[str, Any]]:
    """List the name, number of parameters, source and purpose of each cell.

    Parameters are those of UNITS units on INPUTS inputs."""
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


@dataclass(frozen=True)
class Stack:
    """A way to put several recurrences into one network.

    It has what a recipe's model says for it, where it comes from, and what it is for."""

    settings: dict[str, Any]
    source: str
    purpose: str

    @property
    def recipe_text(self) -> str:
        """The settings as they stand in a recipe: "units = [64, 64]"."""
        return ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.settings.items())


STACKS: dict[str, Stack] = {
    "layered": Stack(
        {"units": [UNITS, UNITS]},
        "Graves et al. 2013",
        "each recurrence reads the outputs of the one below",
    ),
    "residual": Stack(
        {"units": [UNITS, UNITS], "residual": True},
        "He et al. 2016",
        "each recurrence adds to what it reads; for deep stacks",
    ),
    "hierarchical": Stack(
        {"units": [UNITS, UNITS], "periods": [1, 4]},
        "El Hihi and Bengio 1996",
        "slow recurrences above fast ones; fewer steps to compute, a longer memory",
    ),
}


def stacks() -> list[dict[str, Any]]:
    """List each way to stack recurrences: name, recipe settings, parameters, source and purpose.

    Parameters are those of GRUs on INPUTS inputs, without the head."""
    from models.network import Architecture, recurrences

    found = []
    for name, stack in STACKS.items():
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in stack.settings.items()
        }
        network = Architecture("gru", inputs=INPUTS, outputs=1, **settings).build()
        found.append(
            {
                "stack": name,
                "recipe": stack.recipe_text,
                "parameters": sum(layer.count_params() for layer in recurrences(network)),
                "source": stack.source,
                "purpose": stack.purpose,
            }
        )
    return found


def tasks() -> list[dict[str, Any]]:
    """List the name, source and purpose of each task."""
    return [
        {"task": name, "source": entry.source, "purpose": entry.purpose}
        for name, entry in TASKS.items()
    ]
