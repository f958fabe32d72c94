"""int16x8: weights in 8 bits, activations, inputs, outputs and states in 16.

For long memories: a 16-bit state rounds 256 times finer. It is slower than int8 on most CPUs, whose
kernels for it are plain C.
"""

from __future__ import annotations

from calibration.ranges import Ranges
from convert.schemes.mixed import float_parts
from convert.schemes.quantizer import quantize_integers
from convert.schemes.rounding import prepared
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import COMPENSATED, PER_CHANNEL, RANGE_WORDS, SchemeSpec
from convert.schemes.tensor_ranges import tensor_limits
from device_runner.model.flatbuffer import read_graph

BITS = 16


def apply(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Quantize the float step graph with calibrated ranges."""
    graph = read_graph(step.flatbuffer)
    parts = float_parts(graph, step, BITS)
    limits = tensor_limits(
        graph, ranges, step.state_bounds, spec.range_method, BITS, parts.operators
    )
    # 16-bit tensors are symmetric around zero.
    both_sides = {name: max(-low, high) for name, (low, high) in limits.items()}
    symmetric = {name: (-magnitude, magnitude) for name, magnitude in both_sides.items()}
    return quantize_integers(prepared(step, ranges, spec), symmetric, BITS, spec, parts)


SCHEME = Scheme(
    name="int16x8",
    apply=apply,
    needs_ranges=True,
    words=RANGE_WORDS | {PER_CHANNEL, COMPENSATED},
    state_dtype="int16",
    all_dtypes=frozenset({"int16", "int8", "int32", "int64"}),
    tolerance=ToleranceShare(rms=0.01, max_abs=0.1, argmax_agreement=0.95),
    limit=ToleranceShare(rms=0.05, max_abs=0.3, argmax_agreement=0.8),
)
