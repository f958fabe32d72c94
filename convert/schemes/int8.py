"""int8: weights, activations, inputs, outputs and states in 8 bits, after training.

A matrix has one scale unless ``per-channel`` is asked for: scales and zero points (12 bytes a
channel, for weights and bias each) would take up a quarter of a small model's file.
"""

from __future__ import annotations

from calibration.ranges import Ranges
from convert.schemes.mixed import float_parts
from convert.schemes.quantizer import quantize_integers
from convert.schemes.rounding import prepared
from convert.schemes.scheme import FloatStep, Scheme, ToleranceShare
from convert.schemes.spec import COMPENSATED, PER_CHANNEL, QAT, RANGE_WORDS, SchemeSpec
from convert.schemes.tensor_ranges import tensor_limits
from device_runner.model.flatbuffer import read_graph

BITS = 8


def apply(step: FloatStep, ranges: Ranges | None, spec: SchemeSpec) -> bytes:
    """Quantize the float step graph with its own limits or calibrated ranges."""
    graph = read_graph(step.flatbuffer)
    parts = float_parts(graph, step, BITS)
    limits = step.limits or tensor_limits(
        graph, ranges, step.state_bounds, spec.range_method, BITS, parts.operators
    )
    return quantize_integers(prepared(step, ranges, spec), limits, BITS, spec, parts)


SCHEME = Scheme(
    name="int8",
    apply=apply,
    needs_ranges=True,
    words=RANGE_WORDS | {PER_CHANNEL, COMPENSATED, QAT},
    state_dtype="int8",
    all_dtypes=frozenset({"int8", "int32"}),
    # Near-ties flip even in a good model; a broken one shows in the rms.
    tolerance=ToleranceShare(rms=0.03, max_abs=0.2, argmax_agreement=0.9),
    limit=ToleranceShare(rms=0.2, max_abs=1.0, argmax_agreement=0.5),
)
