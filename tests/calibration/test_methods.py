"""How ranges are chosen: each method against a brute-force computation on the values themselves."""

import numpy as np
import pytest

from calibration.methods import METHODS, choose_range
from calibration.ranges import RangeCollector


def collected(values):
    collector = RangeCollector()
    collector.add(values.astype(np.float32))
    return collector.result("activation")


def quantization_error(values, low, high, levels=256):
    step = (high - low) / (levels - 1)
    stored = np.rint((np.clip(values, low, high) - low) / step)
    return np.mean((stored * step + low - values) ** 2)


@pytest.fixture(scope="module")
def with_outliers():
    generator = np.random.default_rng(5)
    values = generator.normal(0, 1, 100_000)
    values[:5] = generator.uniform(30, 40, 5)
    return values


def test_min_max_clips_nothing(with_outliers):
    low, high = choose_range(collected(with_outliers), "min-max")
    assert (low, high) == (
        np.float32(with_outliers.min()),
        np.float32(with_outliers.max()),
    )


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_the_others_clip_rare_outliers(with_outliers, method):
    """At 16 levels; with 256 the mean squared error rightly keeps them."""
    _, high = choose_range(collected(with_outliers), method, levels=16)
    assert high < 0.9 * with_outliers.max()


def test_mse_is_better_than_any_other_method_on_its_own_measure(with_outliers):
    item = collected(with_outliers)
    errors = {
        method: quantization_error(with_outliers, *choose_range(item, method, 16), levels=16)
        for method in METHODS
    }
    assert errors["mse"] <= min(errors.values()) * 1.01
    assert errors["mse"] < 0.5 * errors["min-max"]


@pytest.mark.parametrize("method", METHODS)
def test_without_outliers_little_is_clipped(method):
    values = np.random.default_rng(0).uniform(-2, 3, 50_000)
    low, high = choose_range(collected(values), method)
    assert low <= -1.9
    assert high >= 2.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[1.0, 2.0], [-3.0, -1.0], [0.0, 0.0]])
def test_zero_is_always_inside(method, values):
    low, high = choose_range(collected(np.array(values)), method)
    assert low <= 0 <= high
