"""Recurrent cells: one file each, listed here."""

from __future__ import annotations

from typing import Any

from models.cells.cell import RecurrentCell
from models.cells.gru import GRUCell
from models.cells.lstm import LSTMCell
from models.cells.oru import ORUCell, StateORUCell
from models.cells.simple_rnn import SimpleRNNCell
from models.errors import ModelsError, UnknownNameError

CELLS: dict[str, type[RecurrentCell]] = {
    "simple-rnn": SimpleRNNCell,
    "lstm": LSTMCell,
    "gru": GRUCell,
    "oru": ORUCell,
    "oru-state": StateORUCell,
}


def make_cell(name: str, units: int, options: dict[str, Any] | None = None) -> RecurrentCell:
    """A new cell by its name in CELLS.

    Raises:
        UnknownNameError: there is no such cell.
        ModelsError: the cell has no such option.
    """
    if name not in CELLS:
        raise UnknownNameError("cell", name, CELLS)
    try:
        return CELLS[name](units, **(options or {}))
    except TypeError as error:
        raise ModelsError(f"cell '{name}' does not take these options: {error}") from error
