"""What a scheme is: from the float step graph to the graph that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.ranges import Ranges


@dataclass(frozen=True)
class ToleranceShare:
    """Allowed error on the golden sequences, as shares of the float outputs' spread (largest
    minus smallest), and the least share of equal decisions."""

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
        tolerance: what a runtime's numerics are held to.
    """

    name: str
    apply: Callable[[bytes, Ranges | None, dict[str, float]], bytes]
    needs_ranges: bool
    all_dtypes: frozenset[str] | None
    tolerance: ToleranceShare
