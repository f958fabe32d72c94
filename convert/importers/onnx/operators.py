"""The table of ONNX' operators: how each is computed in TensorFlow, and what becomes of time.

A row is a rule: it takes a :class:`convert.importers.onnx.value.Call` and gives a plan, or
constants where the result does not depend on the network's inputs. Rows are in files by kind.
"""

from __future__ import annotations

from convert.importers.onnx import (
    constants,
    convolutions,
    elementwise,
    loops,
    padding,
    products,
    recurrences,
    reductions,
    shapes,
)
from convert.importers.onnx.elementwise import Rule

OPERATORS: dict[str, Rule] = {
    name: rule
    for kind in (
        constants,
        convolutions,
        elementwise,
        loops,
        padding,
        products,
        recurrences,
        reductions,
        shapes,
    )
    for name, rule in kind.ROWS.items()
}
