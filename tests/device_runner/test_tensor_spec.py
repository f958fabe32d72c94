"""Quantization of inputs and outputs: to the nearest, saturated, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_runner.model.tensor_spec import TensorSpec


@st.composite
def specs(draw) -> TensorSpec:
    dtype = draw(st.sampled_from(["int8", "uint8", "int16"]))
    limits = np.iinfo(dtype)
    return TensorSpec(
        name="x",
        shape=(1, 1),
        dtype=dtype,
        scale=float(np.float32(draw(st.floats(1e-5, 100)))),
        zero_point=draw(st.integers(int(limits.min), int(limits.max))),
    )


INT8 = TensorSpec("x", (1, 1), "int8", 0.5, 3)


@given(specs(), st.floats(0, 1))
@example(INT8, 0.5)
@settings(max_examples=300, deadline=None)
def test_quantize_rounds_to_nearest_and_back_within_half_a_scale(spec, share):
    limits = np.iinfo(spec.dtype)
    lowest, highest = (
        (limit - spec.zero_point) * spec.scale for limit in (int(limits.min), int(limits.max))
    )
    value = np.float32(lowest + share * (highest - lowest))
    stored = spec.quantize(np.array([value]))
    assert stored.dtype == spec.dtype
    exact = float(value) / spec.scale + spec.zero_point
    # float32 itself resolves 2**-24 of the quotient, up to 65,535.
    slack = 2.0**-23 * 65_535
    assert abs(int(stored[0]) - exact) <= 0.5 + slack
    assert abs(float(spec.dequantize(stored)[0]) - float(value)) <= (0.5 + slack) * spec.scale


@given(specs(), st.floats(1.001, 1e6))
@settings(max_examples=200, deadline=None)
def test_quantize_saturates(spec, factor):
    limits = np.iinfo(spec.dtype)
    far = np.float32(spec.scale * 2 * (int(limits.max) - int(limits.min)) * factor)
    np.testing.assert_array_equal(spec.quantize(np.array([-far, far])), [limits.min, limits.max])


@given(specs())
@settings(max_examples=50, deadline=None)
def test_quantize_inverts_dequantize(spec):
    limits = np.iinfo(spec.dtype)
    stored = np.arange(limits.min, int(limits.max) + 1).astype(spec.dtype)
    np.testing.assert_array_equal(spec.quantize(spec.dequantize(stored)), stored)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0.0, 3),
        (0.24, 3),
        (0.26, 4),
        (-0.26, 2),
        (62.0, 127),
        (62.3, 127),
        (1e9, 127),
        (-1e9, -128),
    ],
)
def test_quantize_by_hand(value, stored):
    assert INT8.quantize(np.array([value])) == stored


def test_float_tensors_are_not_quantized():
    spec = TensorSpec("x", (1, 2), "float32")
    values = np.array([0.1, -3e38], np.float32)
    np.testing.assert_array_equal(spec.quantize(values), values)
    np.testing.assert_array_equal(spec.dequantize(values), values)
