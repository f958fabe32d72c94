"""Ranges: true extremes, percentiles within a bin, nothing dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.errors import CalibrationError
from calibration.ranges import COLLECTED_BINS, RangeCollector, Ranges

FLOATS = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None, max_examples=60)
@given(st.lists(hnp.arrays(np.float32, st.integers(1, 50), elements=FLOATS), min_size=1))
def test_extremes_are_exact_and_no_value_is_dropped(blocks):
    collector = RangeCollector()
    for block in blocks:
        collector.add(block)
    values = np.concatenate(blocks)
    result = collector.result("activation")
    assert result.minimum == values.min()
    assert result.maximum == values.max()
    assert sum(result.histogram) == values.size
    assert result.histogram_low <= values.min()
    assert values.max() <= result.histogram_high


def test_percentiles_are_within_one_bin_of_the_exact_ones():
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    collector = RangeCollector()
    for block in np.split(values, 20):
        collector.add(block)
    result = collector.result("activation")
    bin_width = 2 * collector.limit / COLLECTED_BINS
    for name, value in result.percentiles.items():
        assert abs(value - np.percentile(values, float(name), method="inverted_cdf")) <= bin_width


def test_histogram_is_right_after_the_range_grew():
    collector = RangeCollector()
    collector.add(np.array([0.1, 0.2, -0.3], np.float32))
    collector.add(np.array([7.0], np.float32))
    result = collector.result("activation")
    edges = np.linspace(result.histogram_low, result.histogram_high, len(result.histogram) + 1)
    expected, _ = np.histogram([0.1, 0.2, -0.3, 7.0], edges)
    assert result.histogram == expected.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(CalibrationError, match="NaN or infinity"):
        RangeCollector().add(np.array([1.0, bad], np.float32))


def test_save_and_load(tmp_path):
    collector = RangeCollector()
    collector.add(np.array([-1.5, 2.0], np.float32))
    item = collector.result("state")
    tensors = {"in": item, "out": item}
    ranges = Ranges(10, 10, {"h": ("in", "out")}, tensors, magnitudes={"h": 1.5})
    ranges.save(tmp_path / "ranges.json")
    assert Ranges.load(tmp_path / "ranges.json") == ranges
    assert ranges.state_magnitude("h") == 2.0


@pytest.mark.parametrize("content", [None, "", "{}", '{"format_version": 99}', "[1]"])
def test_a_missing_or_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "ranges.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CalibrationError, match="calibrate again"):
        Ranges.load(path)
