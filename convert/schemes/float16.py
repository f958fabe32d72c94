"""float16: weights in half precision, computation in float32. Halves the file."""

from __future__ import annotations

from calibration.ranges import Ranges
from convert.schemes.quantizer import cast_weights
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import SchemeSpec


def apply(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Cast the matrices of the float step graph."""
    return cast_weights(step.flatbuffer)


SCHEME = Scheme(
    name="float16",
    apply=apply,
    needs_ranges=False,
    words=frozenset(),
    state_dtype="float32",
    all_dtypes=None,
    tolerance=ToleranceShare(rms=2e-3, max_abs=1e-2, argmax_agreement=0.97),
    limit=ToleranceShare(rms=0.01, max_abs=0.05, argmax_agreement=0.9),
)
