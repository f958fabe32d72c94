"""What a scheme is: from the float step graph to the graph that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.ranges import Ranges


@dataclass(frozen=True)
class ToleranceShare:
    """Errors on the golden sequences, as shares of the float outputs' spread (largest minus
    smallest), and a share of equal decisions."""

    rms: float
    max_abs: float
    argmax_agreement: float


@dataclass(frozen=True)
class Scheme:
    """A way to store numbers.

    Attributes:
        apply: (float flatbuffer, ranges or None, bounds of states by name) -> flatbuffer.
        needs_ranges: whether ``apply`` needs calibrated ranges.
        all_dtypes: dtypes that tensors of the result may have, or None for any.
        tolerance: what a runtime's numerics are held to, at the least: a model that is coarser
            than that is held to twice its own error on the exporting runtime.
        limit: what no model of the scheme may exceed; beyond it the conversion is wrong.
    """

    name: str
    apply: Callable[[bytes, Ranges | None, dict[str, float]], bytes]
    needs_ranges: bool
    all_dtypes: frozenset[str] | None
    tolerance: ToleranceShare
    limit: ToleranceShare
