"""float32: the step graph as it was trained."""

from __future__ import annotations

from calibration.ranges import Ranges
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import SchemeSpec


def apply(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Return the float graph itself."""
    return step.flatbuffer


# Runtimes differ only in the order of their sums.
ROUNDING = ToleranceShare(rms=1e-5, max_abs=1e-4, argmax_agreement=0.99)

SCHEME = Scheme(
    name="float32",
    apply=apply,
    needs_ranges=False,
    words=frozenset(),
    state_dtype="float32",
    all_dtypes=None,
    tolerance=ROUNDING,
    limit=ROUNDING,
)
