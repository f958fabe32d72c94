"""Recurrent cells: one file each, listed here.

The list holds names of modules, so that reading it does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from models.errors import ModelsError, UnknownNameError

if TYPE_CHECKING:
    from models.cells.cell import RecurrentCell

CELLS: dict[str, str] = {
    "simple-rnn": "simple_rnn.SimpleRNNCell",
    "lstm": "lstm.LSTMCell",
    "gru": "gru.GRUCell",
    "oru": "oru.ORUCell",
    "oru-state": "oru.StateORUCell",
    "fast-grnn": "fast_grnn.FastGRNNCell",
    "min-gru": "min_gru.MinGRUCell",
    "min-lstm": "min_lstm.MinLSTMCell",
}


def cell_class(name: str) -> type[RecurrentCell]:
    """The class of a cell by its name in CELLS; UnknownNameError where there is none."""
    if name not in CELLS:
        raise UnknownNameError("cell", name, CELLS)
    module, _, class_name = CELLS[name].partition(".")
    return getattr(importlib.import_module(f"models.cells.{module}"), class_name)


def make_cell(name: str, units: int, options: dict[str, Any] | None = None) -> RecurrentCell:
    """A new cell.

    Raises:
        UnknownNameError: there is no such cell.
        ModelsError: the cell has no such option.
    """
    kind = cell_class(name)
    known = sorted(set(inspect.signature(kind).parameters) - {"units", "kwargs"})
    for option in options or {}:
        if option not in known:
            raise ModelsError(
                f"cell '{name}' does not take the option '{option}'; "
                f"its options are: {', '.join(known) or 'none'}"
            )
    return kind(units, **(options or {}))
