"""The histogram against NumPy on the raw values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_runner.measure.histogram import Histogram

values_lists = st.lists(st.integers(0, 10**13), min_size=1, max_size=2000)


def histogram_of(values) -> Histogram:
    histogram = Histogram()
    for part in np.array_split(np.asarray(values, np.int64), 3):
        histogram.record(part)
    return histogram


@given(values_lists, st.sampled_from([0.1, 25, 50, 90, 99, 99.9, 100]))
@example([2047, 2048, 2049, 4095, 4096], 50)
@settings(max_examples=200, deadline=None)
def test_percentiles_are_numpys_or_at_most_a_thousandth_above(values, percent):
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert exact <= histogram_of(values).percentile(percent) <= exact * (1 + 2**-10)


@given(st.lists(st.integers(0, 2047), min_size=1, max_size=500))
@settings(max_examples=50, deadline=None)
def test_small_values_are_exact(values):
    for percent in (1, 50, 99):
        exact = np.percentile(values, percent, method="inverted_cdf")
        assert histogram_of(values).percentile(percent) == exact


@given(values_lists)
@settings(max_examples=100, deadline=None)
def test_count_extremes_and_moments_are_exact(values):
    histogram = histogram_of(values)
    assert histogram.count == len(values)
    assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
    assert histogram.mean == pytest.approx(np.mean(values))
    spread = np.std(np.array(values, np.longdouble))
    assert histogram.standard_deviation == pytest.approx(float(spread), rel=1e-6, abs=1e-3)


@given(values_lists)
@settings(max_examples=100, deadline=None)
def test_bins_hold_every_value_once(values):
    bins = histogram_of(values).bins()
    edges = [edge for edge, _ in bins]
    assert edges == sorted(set(edges))
    counts, _ = np.histogram(values, [*edges, max(values) + 1])
    assert [count for _, count in bins] == list(counts)
    # 8 bins per factor of two: the last one is at most an eighth wide.
    assert max(values) <= edges[-1] * 9 / 8


@pytest.mark.parametrize("value", [-1, 2**53])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="integers from 0"):
        Histogram().record([5, value])


def test_an_empty_histogram_has_no_percentiles():
    histogram = Histogram()
    histogram.record([])
    with pytest.raises(ValueError, match="empty"):
        histogram.percentile(50)
