"""Golden inputs come back as they were, stored in half the bytes where float16 holds them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from device_runner.model.contract import Tolerance
from device_runner.model.golden import Golden, golden_bytes, golden_input
from device_runner.model.step_file import load_step_model

TOLERANCE = Tolerance(1.0, 1.0, 0.0)
# Values that float16 cannot hold: infinite in it, zero in it, and with no digit but the first.
LARGE, TINY, SMALL = 70_000.0, 1e-9, 1e-7


def stored(x: np.ndarray) -> np.ndarray:
    """Return the array of x in the bytes of a golden file."""
    y = np.zeros((len(x), 1), np.float32)
    with np.load(
        io.BytesIO(golden_bytes(Golden({"x": x}, {"y": y}, (len(x),)), TOLERANCE))
    ) as arrays:
        return arrays["x"]


@pytest.mark.parametrize("value", [LARGE, -LARGE, TINY, SMALL, 3.4e38])
def test_values_that_float16_loses_stay_in_float32(value):
    x = np.array([[1.0, value], [0.1, value]], np.float32)
    np.testing.assert_array_equal(golden_input(x), x)
    assert stored(x).dtype == np.float32
    np.testing.assert_array_equal(stored(x), x)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 60_000.0, 1e-4])
def test_other_values_are_rounded_to_float16(value):
    x = np.array([[1.0, value], [0.1, value / 7]], np.float32)
    rounded = golden_input(x)
    np.testing.assert_array_equal(rounded, x.astype(np.float16).astype(np.float32))
    assert stored(rounded).dtype == np.float16
    np.testing.assert_array_equal(stored(rounded), rounded)


def test_a_small_value_in_a_channel_of_large_ones_is_rounded():
    """Its error is far below what the channel's other values are rounded by."""
    x = np.array([[2.0], [SMALL]], np.float32)
    assert stored(golden_input(x)).dtype == np.float16


def test_token_ids_stay_as_they_are():
    ids = np.array([[3], [70_000]], np.int32)
    assert golden_input(ids) is ids
    np.testing.assert_array_equal(stored(ids), ids)
    assert stored(ids).dtype == np.int32


@pytest.mark.parametrize("value", [LARGE, SMALL])
def test_a_file_keeps_them(value, workshop):
    golden = workshop.model.golden
    x = golden.x.copy()
    x[:, 3] = value
    path = workshop.write(workshop.packed(golden=replace(golden, inputs={"x": x})))
    np.testing.assert_array_equal(load_step_model(path).golden.x, x)
