"""Where the units of a cell lie in its weights, and in the weights of what takes its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.cells.cell import RecurrentCell
from models.errors import ModelsError


def weight_axes(cell: RecurrentCell, weight: tf.Variable) -> tuple[str, ...]:
    """Tell what the axes of a cell's weight run along (``RecurrentCell.weight_axes``).

    Raises:
        ModelsError: the cell does not declare it.
    """
    name = weight.name.rpartition("/")[2].partition(":")[0]
    axes = cell.weight_axes.get(name, ())
    if len(axes) != len(weight.shape):
        raise ModelsError(
            f"{type(cell).__name__} does not say what the {len(weight.shape)} axes of its weight "
            f"'{name}' run along; enter it in the cell's weight_axes"
        )
    return axes


def unit_basis(cell: RecurrentCell) -> NDArray[Any] | None:
    """Give ``RecurrentCell.unit_basis`` as a float64 array [H, H], or None."""
    basis = cell.unit_basis()
    return None if basis is None else basis.numpy().astype(np.float64)


def by_unit(rows: NDArray[Any], basis: NDArray[Any] | None) -> NDArray[Any]:
    """Rewrite a taker's weight [H (outputs), ...] as if it took the units: [H (units), ...]."""
    return rows if basis is None else np.tensordot(basis.T, rows, 1)
