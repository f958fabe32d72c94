"""Recurrent cells: one file each, listed here.

The list holds names of modules, so that reading it does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from models.errors import ModelsError, UnknownNameError

if TYPE_CHECKING:
    from models.cells.cell import RecurrentCell


class CellEntry(NamedTuple):
    """A cell in the list: "module.Class" within this package, where it comes from, and what it is
    for, in a few words each."""

    implementation: str
    source: str
    purpose: str


CELLS: dict[str, CellEntry] = {
    "simple-rnn": CellEntry(
        "simple_rnn.SimpleRNNCell", "Elman 1990", "the smallest step; short sequences"
    ),
    "lstm": CellEntry(
        "lstm.LSTMCell", "Hochreiter and Schmidhuber 1997", "long memory in a second state"
    ),
    "gru": CellEntry("gru.GRUCell", "Cho et al. 2014", "long memory in one state; a good start"),
    "oru": CellEntry(
        "oru.ORUCell", "Mhammedi et al. 2017", "a constant orthogonal matrix keeps lengths"
    ),
    "oru-state": CellEntry(
        "oru.StateORUCell", "Mhammedi et al. 2017", "an orthogonal matrix that follows the state"
    ),
    "fast-grnn": CellEntry(
        "fast_grnn.FastGRNNCell", "Kusupati et al. 2018", "gated, with one matrix: kilobyte models"
    ),
    "min-gru": CellEntry(
        "min_gru.MinGRUCell", "Feng et al. 2024", "no recurrent matrix; trained without a loop"
    ),
    "min-lstm": CellEntry("min_lstm.MinLSTMCell", "Feng et al. 2024", "as min-gru, with two gates"),
    "grouped-simple-rnn": CellEntry(
        "grouped.GroupedSimpleRNNCell", "Gao et al. 2018", "fewer recurrent parameters"
    ),
    "grouped-lstm": CellEntry(
        "grouped.GroupedLSTMCell", "Gao et al. 2018", "fewer recurrent parameters"
    ),
    "grouped-gru": CellEntry(
        "grouped.GroupedGRUCell", "Gao et al. 2018", "fewer recurrent parameters"
    ),
    "graph-gru": CellEntry(
        "graph_gru.GraphGRUCell", "Seo et al. 2018", "channels as nodes that share one small GRU"
    ),
    "linear-attention": CellEntry(
        "linear_attention.LinearAttentionCell",
        "Katharopoulos et al. 2020",
        "attention to all of the past, held in one matrix; trained without a loop",
    ),
    "window-attention": CellEntry(
        "window_attention.WindowAttentionCell",
        "Vaswani et al. 2017",
        "attention to the last steps; trained without a loop",
    ),
    "attentive-gru": CellEntry(
        "attentive_gru.AttentiveGRUCell",
        "Luong et al. 2015",
        "a GRU that looks back at its last steps: aligns and copies",
    ),
}


def cell_class(name: str) -> type[RecurrentCell]:
    """Look up the class of a cell by its name in CELLS; UnknownNameError where there is none."""
    if name not in CELLS:
        raise UnknownNameError("cell", name, CELLS)
    module, _, class_name = CELLS[name].implementation.partition(".")
    found: type[RecurrentCell] = getattr(
        importlib.import_module(f"models.cells.{module}"), class_name
    )
    return found


def make_cell(name: str, units: int, options: dict[str, Any] | None = None) -> RecurrentCell:
    """Make a new cell.

    Args:
        name: in CELLS.
        units: number of hidden units H.
        options: of that cell, as its class takes them.

    Raises:
        UnknownNameError: there is no such cell.
        ModelsError: the cell has no such option, or a value is out of range.

    Example:
        >>> CELLS["gru"].source
        'Cho et al. 2014'
        >>> cell = make_cell("gru", units=8, options={"rank": 2})
        >>> cell.state_names, cell.state_shapes
        (('h',), ((8,),))
    """
    kind = cell_class(name)
    # Of __init__, as some versions of Python give that of Layer.__new__ for the class.
    known = sorted(set(inspect.signature(kind.__init__).parameters) - {"self", "units", "kwargs"})
    for option, value in (options or {}).items():
        if option not in known:
            raise ModelsError(
                f"cell '{name}' does not take the option '{option}'; "
                f"its options are: {', '.join(known) or 'none'}"
            )
        if get_type_hints(kind.__init__)[option] is bool and type(value) is not bool:
            # A string is true whatever it says; cells check their numbers themselves.
            raise ModelsError(
                f"option '{option}' of cell '{name}' is {value!r}; write true or false"
            )
    return kind(units, **(options or {}))
