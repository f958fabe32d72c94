"""Real values are stored in a step as TensorSpec.quantize stores them, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.errors import BadInputError
from device_runner.model.frames import bind_decode, bind_encode
from device_runner.model.tensor_spec import TensorSpec

SPECS = [
    TensorSpec("x", (1, 23), dtype, scale=scale, zero_point=zero)
    for dtype, zeros in (("int8", (-128, 3, 127)), ("uint8", (0, 255)), ("int16", (-9, 0)))
    for zero in zeros
    for scale in (0.031, 1.0, 3e38)
] + [TensorSpec("x", (1, 23), "float32"), TensorSpec("x", (1, 23), "float16")]


def frames(spec: TensorSpec) -> list[np.ndarray]:
    """Values of many magnitudes, ties among them."""
    generator = np.random.default_rng(4)
    scale = spec.scale or 1.0
    found = [generator.normal(0, 10.0**power, 23) for power in range(-3, 5)]
    ties = (np.arange(23) - 11.5) * np.float32(scale)
    return [*(one.clip(-3e4, 3e4) for one in found), ties[np.abs(ties) < np.inf].clip(-3e38, 3e38)]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
def test_a_frame_is_stored_as_a_sequence_is(spec, kind):
    encode, decode = bind_encode([spec]), bind_decode([spec])
    for values in frames(spec):
        if spec.dtype == "float16" or kind == "int16":
            values = values.clip(-3e4, 3e4)
        x = np.resize(values, 23).astype(kind)
        expected = spec.quantize(x.astype(np.float32))
        assert encode(x).tobytes() == expected.tobytes()
        assert encode(x[np.newaxis]).tobytes() == expected.tobytes()
        if spec.scale is not None:
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(decode(expected.tobytes()), spec.dequantize(expected))


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_not_finite_is_told_with_its_place(spec, kind):
    encode = bind_encode([spec])
    for wrong in (np.nan, np.inf, -np.inf):
        x = np.zeros(23, kind)
        x[7] = wrong
        with pytest.raises(BadInputError, match=f"{wrong} at step 0, channel 7"):
            encode(x)
    if kind is np.float64:
        x[7] = 1e300
        with pytest.raises(BadInputError, match="beyond float32"), np.errstate(over="ignore"):
            encode(x)
