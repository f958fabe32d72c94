"""Latency statistics against exact arithmetic, and the measurement against a clock made up."""

from __future__ import annotations

import gc
import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_runner import latency
from device_runner.contract import Golden, TensorSpec
from device_runner.latency import (
    PERCENTILES,
    SAMPLES_ABOVE_PERCENTILE,
    BenchSettings,
    clock_overhead_ns,
    measure,
    summarize,
)
from device_runner.stream import Stream

samples = st.lists(st.integers(1, 10**10), min_size=1, max_size=3000)


def share(percentile: float) -> Fraction:
    return Fraction(str(percentile)) / 100


# Statistics


@given(samples)
@settings(max_examples=150, deadline=None)
def test_percentiles_are_numpys_inverted_cdf(values):
    found = summarize(values).percentiles
    for percentile in PERCENTILES:
        value = found[f"p{percentile:g}"]
        if value is not None:
            assert value == np.percentile(values, percentile, method="inverted_cdf")


@pytest.mark.parametrize("count", [1, 19, 20, 99, 100, 999, 1000, 1001, 9999, 12_345, 20_001])
def test_percentiles_are_nearest_rank(count):
    assert_nearest_rank(count)


@pytest.mark.parametrize("count", [10_000, 20_000, 100_000])
def test_percentiles_are_nearest_rank_where_the_rank_is_whole(count):
    assert_nearest_rank(count)


def assert_nearest_rank(count: int) -> None:
    """Of the samples 1, 2, ... count, each is its own rank."""
    found = summarize(range(count, 0, -1)).percentiles
    for percentile in PERCENTILES:
        enough = count * (1 - share(percentile)) >= SAMPLES_ABOVE_PERCENTILE
        rank = math.ceil(share(percentile) * count)
        assert found[f"p{percentile:g}"] == (rank if enough else None)


@pytest.mark.parametrize(
    ("percentile", "needed"), [("p50", 20), ("p90", 100), ("p99", 1000), ("p99.9", 10_000)]
)
def test_percentiles_need_ten_samples_above_them(percentile, needed):
    assert summarize(range(1, needed)).percentiles[percentile] is None
    assert summarize(range(1, needed + 1)).percentiles[percentile] is not None


@given(samples)
@settings(max_examples=100, deadline=None)
def test_moments_are_numpys(values):
    found = summarize(values)
    assert found.samples == len(values)
    assert (found.minimum, found.maximum) == (min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.standard_deviation == pytest.approx(np.std(values))


@given(samples)
@settings(max_examples=150, deadline=None)
def test_histogram_counts_every_sample_once(values):
    histogram = summarize(values).histogram
    edges = [edge for edge, _ in histogram]
    assert sum(count for _, count in histogram) == len(values)
    assert all(count > 0 for _, count in histogram)
    assert edges == sorted(edges)
    # A bin is 2**(1/8) wide, so the outer bins hold the outer samples.
    assert edges[0] <= min(values) <= edges[0] * 2 ** (1 / 8) + 2
    assert edges[-1] <= max(values) <= edges[-1] * 2 ** (1 / 8) + 2


@given(samples)
@example([181, 182])
@example([2, 3])
@settings(max_examples=150, deadline=None)
def test_histogram_edges_contain_their_samples(values):
    histogram = summarize(values).histogram
    edges = [edge for edge, _ in histogram]
    assert edges == sorted(set(edges))
    counts, _ = np.histogram(values, [*edges, max(values) + 1])
    assert [count for _, count in histogram] == list(counts)


def test_clock_overhead_is_small_and_not_negative():
    overhead = clock_overhead_ns()
    assert isinstance(overhead, int)
    assert 0 <= overhead < 100_000


# Measuring real streams


def test_two_streams_are_measured_side_by_side(int8_file, float32_file):
    streams = [Stream(file, "litert") for file in (int8_file, float32_file)]
    measured = measure(streams, BenchSettings(steps=200, rounds=4, warmup_s=0))
    assert len(measured) == 2
    for result in measured:
        assert result.step.samples == result.invoke.samples == 200
        assert result.float_step.samples == 20
        for times in (result.step, result.invoke, result.float_step):
            assert 0 < times.minimum <= times.mean <= times.maximum
            assert all(isinstance(t, int) for t in (times.minimum, times.maximum))
            known = [time for time in times.percentiles.values() if time is not None]
            assert all(isinstance(time, int) for time in known)
            assert known == sorted(known)
        assert result.first_step > 0
        assert result.deadline == 6_400_000
        assert result.invoke.minimum < result.step.minimum < result.float_step.minimum


@pytest.mark.parametrize(("steps", "rounds"), [(100, 1), (100, 100), (300, 7)])
def test_at_least_the_asked_steps_are_timed(steps, rounds, int8_file):
    stream = Stream(int8_file, "litert")
    (result,) = measure([stream], BenchSettings(steps, rounds, warmup_s=0))
    assert steps <= result.step.samples < steps + rounds


# Measuring a fake stream with a fake clock


class FakeClock:
    """Stands in for the module ``time``; only work makes it go on."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        return self.now

    def perf_counter(self) -> float:
        return self.now / 1e9


class FakeStream:
    """Every step takes 1,000 ns, every tenth of them ``slow_ns``."""

    def __init__(self, clock: FakeClock, slow_ns: int, frame_period_s: float) -> None:
        self.clock, self.slow_ns = clock, slow_ns
        self.steps = 0
        self.order: list[FakeStream] = []
        self.collecting: list[bool] = []
        self.backend = SimpleNamespace(invoke=lambda: self.spend(400))
        golden = Golden(np.zeros((6, 2), np.float32), np.zeros((6, 1), np.float32), (6,))
        contract = SimpleNamespace(
            input=TensorSpec("x", (1, 2), "float32"), frame_period_s=frame_period_s
        )
        self.model = SimpleNamespace(golden=golden, contract=contract)

    def spend(self, nanoseconds: int) -> None:
        self.order.append(self)
        self.collecting.append(gc.isenabled())
        self.clock.now += nanoseconds

    def step_bytes(self, frame: bytes) -> bytes:
        assert frame == bytes(8)
        self.spend(self.slow_ns if self.steps % 10 == 9 else 1000)
        self.steps += 1
        return b""

    def step(self, frame: np.ndarray) -> None:
        assert frame.shape == (2,)
        self.spend(7000)

    def reset(self) -> None:
        self.steps = 0


@pytest.fixture
def clock(monkeypatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(latency, "time", made)
    return made


def measure_fake(stream: FakeStream, steps: int, rounds: int = 1):
    stream.steps = 0
    return measure([stream], BenchSettings(steps, rounds, warmup_s=0))[0]


def test_deadline_misses_and_headroom(clock):
    result = measure_fake(FakeStream(clock, 2_000_001, frame_period_s=0.002), 1000)
    assert result.first_step == 1000
    assert result.step.samples == 1000
    assert result.deadline == 2_000_000
    assert result.deadline_misses == 100
    assert result.step.maximum == 2_000_001
    assert result.step.percentiles == {"p50": 1000, "p90": 1000, "p99": 2_000_001, "p99.9": None}
    # p99.9 is not known from 1,000 steps, p99 is.
    assert result.headroom == pytest.approx(2_000_000 / 2_000_001)
    assert result.invoke.minimum == result.invoke.maximum == 400
    assert result.float_step.samples == 100
    assert result.float_step.minimum == result.float_step.maximum == 7000


def test_a_step_of_exactly_the_period_is_in_time(clock):
    result = measure_fake(FakeStream(clock, 2_000_000, frame_period_s=0.002), 1000)
    assert result.deadline_misses == 0
    assert result.headroom == 1


def test_headroom_is_from_the_largest_percentile_known(clock):
    # Of 100 steps, p90 is the largest percentile that has ten samples above it.
    result = measure_fake(FakeStream(clock, 50_000, frame_period_s=0.001), 100)
    assert result.step.percentiles == {"p50": 1000, "p90": 1000, "p99": None, "p99.9": None}
    assert result.headroom == 1000


def test_headroom_is_from_the_slowest_step_where_no_percentile_is_known(clock):
    result = measure_fake(FakeStream(clock, 50_000, frame_period_s=0.001), 15)
    assert set(result.step.percentiles.values()) == {None}
    assert result.headroom == 20


def test_streams_take_turns(clock):
    streams = [FakeStream(clock, 1000, 0.001) for _ in range(2)]
    streams[0].order = streams[1].order
    measure(streams, BenchSettings(steps=100, rounds=5, warmup_s=0))
    calls = streams[0].order[2:]  # after the first step of each
    turns = [calls[0]] + [b for a, b in itertools.pairwise(calls) if a is not b]
    assert turns == streams * 5


def test_warm_up_is_not_timed(clock):
    stream = FakeStream(clock, 1000, 0.001)
    (result,) = measure([stream], BenchSettings(steps=100, rounds=1, warmup_s=0.01))
    assert result.step.samples == 100
    assert len(stream.order) > 10_000_000 / 1000


# The garbage collector


def test_garbage_is_not_collected_while_timing(clock):
    stream = FakeStream(clock, 1000, 0.001)
    measure_fake(stream, 100)
    assert len(stream.collecting) > 200
    assert not any(stream.collecting[1:])  # all but the first step, which is the warm-up


class FailingStream(FakeStream):
    def step(self, frame: np.ndarray) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collector_is_as_before_even_after_an_interrupt(clock, enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        measure_fake(FakeStream(clock, 1000, 0.001), 100)
        assert gc.isenabled() == enabled
        with pytest.raises(KeyboardInterrupt):
            measure_fake(FailingStream(clock, 1000, 0.001), 100)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
