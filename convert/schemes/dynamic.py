"""dynamic: matrices in int8; activations and states in float32, quantized on the fly in each
product. A quarter of the file size, a state that does not drift, and no calibration.

A matrix has one scale by default, which tflite-runtime 2.14 and newer runtimes load. A scale per
channel needs a runtime that knows FULLY_CONNECTED version 12. Older ones refuse the file; with the
version that the quantizer leaves they would load it and compute nonsense.
"""

from __future__ import annotations

from calibration.ranges import Ranges
from convert.schemes.quantizer import quantize_weights
from convert.schemes.rounding import prepared
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import COMPENSATED, PER_CHANNEL, SchemeSpec


def apply(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Quantize the matrices of the float step graph."""
    return quantize_weights(prepared(step, ranges, spec), spec)


SCHEME = Scheme(
    name="dynamic",
    apply=apply,
    needs_ranges=False,
    words=frozenset({PER_CHANNEL, COMPENSATED}),
    state_dtype="float32",
    all_dtypes=None,
    tolerance=ToleranceShare(rms=0.02, max_abs=0.1, argmax_agreement=0.95),
    limit=ToleranceShare(rms=0.05, max_abs=0.3, argmax_agreement=0.8),
)
