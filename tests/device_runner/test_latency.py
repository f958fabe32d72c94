"""Latency statistics against exact arithmetic, and the measurement against a clock made up."""

from __future__ import annotations

import gc
import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from device_runner.measure import latency
from device_runner.measure.histogram import Histogram
from device_runner.measure.latency import (
    PARTS,
    PERCENTILES,
    SAMPLES_ABOVE_PERCENTILE,
    BenchSettings,
    clock_overhead_ns,
    measure,
    samples_needed,
    summarize,
)
from device_runner.model.golden import Golden
from device_runner.model.tensor_spec import TensorSpec
from device_runner.stream import Stream


def assert_percentiles_of_ranks(count: int) -> None:
    """Of the samples 1, 2, ... count, each is its own rank."""
    histogram = Histogram()
    histogram.record(range(count, 0, -1))
    found = summarize(histogram).percentiles
    for percentile in PERCENTILES:
        share = Fraction(str(percentile)) / 100
        enough = count * (1 - share) >= SAMPLES_ABOVE_PERCENTILE
        value = found[f"p{percentile:g}"]
        assert (value is not None) == enough
        if value is not None:
            rank = math.ceil(share * count)
            assert rank <= value <= rank * 1.001


@pytest.mark.parametrize("count", [1, 19, 20, 99, 100, 999, 1000, 9999, 10_000, 12_345, 100_000])
def test_percentiles_are_nearest_rank(count):
    assert_percentiles_of_ranks(count)


@pytest.mark.parametrize(
    ("percentile", "needed"), [(50, 20), (90, 100), (95, 200), (99, 1000), (99.9, 10_000)]
)
def test_percentiles_need_ten_samples_above_them(percentile, needed):
    assert samples_needed(percentile) == needed


def test_clock_overhead_is_small_and_not_negative():
    overhead = clock_overhead_ns()
    assert isinstance(overhead, int)
    assert 0 <= overhead < 100_000


# Measuring real streams


def test_two_streams_are_measured_side_by_side(int8_file, float32_file):
    streams = [Stream(file, "litert") for file in (int8_file, float32_file)]
    measured = measure(streams, BenchSettings(steps=200, rounds=4, warmup_s=0))
    assert len(measured) == 2
    assert measured[0].step.round_p99 == []  # rounds of 50 steps tell no such percentile
    for result in measured:
        assert result.step.samples == result.invoke.samples == 200
        assert result.float_step.samples == 20
        for times in (result.step, result.float_step, *(getattr(result, part) for part in PARTS)):
            assert 0 < times.minimum <= times.mean <= times.maximum
            assert all(isinstance(t, int) for t in (times.minimum, times.maximum))
            known = [time for time in times.percentiles.values() if time is not None]
            assert all(isinstance(time, int) for time in known)
            assert known == sorted(known)
        assert result.first_step > 0
        assert result.load > 0
        assert result.deadline == 6_400_000
        assert result.samples is None


def test_samples_are_kept_if_asked_for(int8_file):
    stream = Stream(int8_file, "litert")
    settings = BenchSettings(steps=300, rounds=3, warmup_s=0, keep_samples=True)
    (result,) = measure([stream], settings)
    assert (len(result.samples), result.samples.max()) == (300, result.step.maximum)
    exact = np.percentile(result.samples, 90, method="inverted_cdf")
    assert exact <= result.step.percentiles["p90"] <= exact * 1.001


def test_each_round_that_is_long_enough_has_its_percentile(int8_file):
    settings = BenchSettings(steps=3000, rounds=3, warmup_s=0, keep_samples=True)
    (result,) = measure([Stream(int8_file, "litert")], settings)
    rounds = result.samples.reshape(3, 1000)
    wanted = [int(np.sort(samples)[989]) for samples in rounds]  # 990 of 1000 are not above it
    assert result.step.round_p99 == wanted
    assert result.invoke.round_p99 == []


def test_progress_is_told_after_each_round(int8_file):
    told = []
    measure([Stream(int8_file, "litert")], BenchSettings(100, 4, warmup_s=0), told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


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
        self.backend = SimpleNamespace(
            put=lambda frame: self.spend(100),
            invoke=lambda: self.spend(400),
            advance=lambda: self.spend(200),
            get=lambda: self.spend(300),
        )
        self.load_ns = 5000
        golden = Golden(
            {"x": np.zeros((6, 2), np.float32)}, {"y": np.zeros((6, 1), np.float32)}, (6,)
        )
        contract = SimpleNamespace(
            inputs=(TensorSpec("x", (1, 2), "float32"),), frame_period_s=frame_period_s, rows=1
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
    assert result.step.percentiles == {
        "p50": 1000, "p90": 1000, "p95": 2_000_001, "p99": 2_000_001, "p99.9": None
    }  # fmt: skip
    # p99.9 is not known from 1,000 steps, p99 is.
    assert result.headroom == pytest.approx(2_000_000 / 2_000_001)
    for part, nanoseconds in zip(PARTS, (100, 400, 200, 300), strict=True):
        latency_of_part = getattr(result, part)
        assert latency_of_part.samples == 1000
        assert latency_of_part.minimum == latency_of_part.maximum == nanoseconds
    assert result.load == 5000
    assert result.float_step.samples == 100
    assert result.float_step.minimum == result.float_step.maximum == 7000


def test_a_step_of_exactly_the_period_is_in_time(clock):
    result = measure_fake(FakeStream(clock, 2_000_000, frame_period_s=0.002), 1000)
    assert result.deadline_misses == 0
    assert result.headroom == 1


def test_headroom_is_from_the_largest_percentile_known(clock):
    # Of 100 steps, p90 is the largest percentile that has ten samples above it.
    result = measure_fake(FakeStream(clock, 50_000, frame_period_s=0.001), 100)
    assert result.step.percentiles == {
        "p50": 1000, "p90": 1000, "p95": None, "p99": None, "p99.9": None
    }  # fmt: skip
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
