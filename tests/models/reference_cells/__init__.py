"""One time step of every cell in NumPy float64, written from the equations, gate by gate.

A cell's reference is the file of its name here. It takes one frame x [inputs], the states (each
[H]) and the cell's weights by name, and gives the output and the new states. A matrix of low rank
is multiplied out beforehand: its rank is no business of the equations.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from models.cells import CELLS
from tests.models.reference_cells.equations import Reference, Weights


def _reference(file: Path) -> Reference:
    return importlib.import_module(f"{__name__}.{file.stem}").REFERENCE


_FILES = {name: Path(__file__).with_name(name.replace("-", "_") + ".py") for name in CELLS}
#: By the cell's name, of those that have one; each says which options the cell is tested with.
REFERENCES: dict[str, Reference] = {
    name: _reference(file) for name, file in _FILES.items() if file.exists()
}


def weights_by_name(cell) -> Weights:
    """A built cell's weights in float64: the part of each variable's name after the last /."""
    return {
        variable.name.rpartition("/")[2].partition(":")[0]: variable.numpy().astype(np.float64)
        for variable in cell.weights
    }


def matrix(weights, name):
    """Return a matrix by its name, however it is stored; None if the cell has none."""
    if f"{name}_down" in weights:
        return weights[f"{name}_down"] @ weights[f"{name}_up"]
    return weights.get(name)


def run(name, options, sequence, states, weights):
    """Outputs [steps, H] of the reference over a sequence [steps, inputs], and the states after
    every step, each [steps, H]."""
    options = {o: value for o, value in options.items() if o not in ("rank", "input_rank")}
    weights = weights | {name: matrix(weights, name) for name in ("kernel", "recurrent_kernel")}
    outputs, history = [], []
    for x in np.asarray(sequence, np.float64):
        output, states = REFERENCES[name].step(x, states, weights, **options)
        outputs.append(output)
        history.append(states)
    return np.array(outputs), {key: np.array([h[key] for h in history]) for key in states}
