"""Paced measurement: against a clock made up, and for real."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from device_runner.measure import latency, paced
from device_runner.measure.paced import WARM_UP_FRAMES, PacedSettings, measure_paced
from device_runner.measure.timeline import BEFORE, BINS, FROM
from device_runner.model.golden import Golden
from device_runner.model.tensor_spec import TensorSpec
from device_runner.stream import Stream

PERIOD_NS = 10_000_000
WAKE_UP_NS = 70_000


class FakeClock:
    """Stands in for the module ``time``; sleeping takes 70 microseconds longer than asked."""

    def __init__(self) -> None:
        self.now = 123_456

    def perf_counter_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9) + WAKE_UP_NS


class FakeStream:
    """A step takes 1 microsecond; ``stalls`` maps numbers of timed frames to other durations."""

    def __init__(self, clock: FakeClock, stalls: dict[int, int]) -> None:
        self.clock, self.stalls = clock, stalls
        self.load_ns = 1
        self.steps = -WARM_UP_FRAMES
        self.backend = SimpleNamespace(
            put=lambda frame: None, invoke=self.invoke, advance=lambda: None, get=lambda: b""
        )
        golden = Golden(
            {"x": np.zeros((6, 2), np.float32)}, {"y": np.zeros((6, 1), np.float32)}, (6,)
        )
        contract = SimpleNamespace(
            inputs=(TensorSpec("x", (1, 2), "float32"),), frame_period_s=0.01, rows=1
        )
        self.model = SimpleNamespace(golden=golden, contract=contract)

    def invoke(self) -> None:
        self.clock.now += self.stalls.get(self.steps, 1000)
        self.steps += 1

    def step_bytes(self, frame: bytes) -> bytes:
        self.clock.now += 1000
        return b""

    def reset(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(paced, "time", made)
    monkeypatch.setattr(latency, "time", made)
    return made


def test_every_frame_is_accounted_for_and_none_is_late(clock):
    found = measure_paced(FakeStream(clock, {}), PacedSettings(duration_s=60))
    assert found.frames == found.step.samples == found.response.samples == 6000
    assert found.wake_up.samples == 6000
    assert (found.deadline_misses, found.queued) == (0, 0)
    assert found.deadline == PERIOD_NS
    assert found.wake_up.minimum == found.wake_up.maximum == WAKE_UP_NS
    assert found.response.maximum == WAKE_UP_NS + 1000
    assert found.headroom == pytest.approx(PERIOD_NS / (WAKE_UP_NS + 1000), rel=1e-3)


def test_a_stall_of_five_periods_misses_five_deadlines_and_drops_no_frame(clock):
    settings = PacedSettings(duration_s=2, keep_samples=True)
    found = measure_paced(FakeStream(clock, {50: 50_000_000}), settings)
    assert found.frames == 200
    # Frame 50 and the four released meanwhile are done after the fifth release from it on; the
    # one released then is the last to wait.
    assert found.deadline_misses == 5
    assert found.queued == 5
    late = found.samples[50:56]
    assert late[0] == 50_000_000 + WAKE_UP_NS
    np.testing.assert_array_equal(np.diff(late), 1000 - PERIOD_NS)
    assert found.wake_up.samples == 195


def test_steps_longer_than_the_period_miss_every_deadline(clock):
    stream = FakeStream(clock, dict.fromkeys(range(20), 2 * PERIOD_NS))
    found = measure_paced(stream, PacedSettings(duration_s=0.2))
    assert found.frames == found.deadline_misses == 20
    assert found.queued == 19
    assert found.headroom < 1


def test_the_pace_may_be_another_than_the_models(clock):
    found = measure_paced(FakeStream(clock, {}), PacedSettings(duration_s=1, period_s=0.001))
    assert (found.frames, found.deadline) == (1000, 1_000_000)


def test_the_timeline_shows_a_stall_and_what_waited_for_it(clock):
    found = measure_paced(FakeStream(clock, {50: 50_000_000}), PacedSettings(duration_s=2))
    line = found.timeline
    assert line.frames_per_bin == 1
    assert len(line.begun) == len(line.done) == len(line.missed) == 200
    assert [frame for frame, missed in enumerate(line.missed) if missed] == [50, 51, 52, 53, 54]
    assert line.begun[50] == WAKE_UP_NS  # it began in time
    assert line.begun[51] == line.done[50] - PERIOD_NS  # the next one when that was done
    assert line.done[55] < PERIOD_NS
    assert line.first == 50 - BEFORE
    assert line.stretch_done == line.done[line.first : 50 + FROM]
    assert line.stretch_begun == line.begun[line.first : 50 + FROM]


# In the first batch, across two of them, and at the end, where no frames follow.
@pytest.mark.parametrize("slow", [3, 1015, 1023, 1024, 99_999])
def test_a_long_run_keeps_a_short_timeline(clock, slow):
    stalls = {slow: 5_000_000, 500: 4_000_000}
    found = measure_paced(FakeStream(clock, stalls), PacedSettings(duration_s=1000))
    line = found.timeline
    assert line.frames_per_bin == 250
    assert len(line.done) == BINS
    assert sum(line.missed) == found.deadline_misses == 0
    assert max(line.done) == line.done[slow // 250] == found.response.maximum
    assert line.first == max(0, slow - BEFORE)
    assert line.stretch_done[slow - line.first] == found.response.maximum
    assert len(line.stretch_done) == min(slow + FROM, 100_000) - line.first


def test_the_last_bin_may_be_short(clock):
    found = measure_paced(FakeStream(clock, {}), PacedSettings(duration_s=4.01))
    line = found.timeline
    assert (found.frames, line.frames_per_bin, len(line.done)) == (401, 2, 201)
    assert set(line.done) == {WAKE_UP_NS + 1000}


def test_progress_reaches_its_end(clock):
    told = []
    measure_paced(FakeStream(clock, {}), PacedSettings(duration_s=30), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def stalling(stream: Stream, frame: int, seconds: float) -> None:
    """Make the real backend sleep in the invoke of one timed frame."""
    invoke, count = stream.backend.invoke, iter(range(-WARM_UP_FRAMES, 10**9))

    def slow() -> None:
        invoke()
        if next(count) == frame:
            time.sleep(seconds)

    stream.backend.invoke = slow


def check_real_run(stream: Stream, duration_s: float) -> None:
    frames = round(duration_s * 100)
    stalling(stream, frames // 2, 0.05)
    settings = PacedSettings(duration_s=duration_s, period_s=0.01, keep_samples=True)
    start = time.perf_counter()
    found = measure_paced(stream, settings)
    # Absolute deadlines: the whole takes its time whatever single frames did.
    assert duration_s < time.perf_counter() - start < duration_s + 10
    assert found.frames == len(found.samples) == frames
    # The machine may add misses of its own; those of the stall are all there.
    stalled = found.samples[frames // 2 : frames // 2 + 5]
    assert (stalled > PERIOD_NS).all()
    assert found.deadline_misses == np.sum(found.samples > PERIOD_NS) >= 5
    for percentile, value in found.response.percentiles.items():
        if value is not None:
            exact = np.percentile(found.samples, float(percentile[1:]), method="inverted_cdf")
            assert exact <= value <= exact * 1.001


def test_a_real_stall_is_seen(int8_file):
    check_real_run(Stream(int8_file, "litert"), 2)


@pytest.mark.slow
def test_a_minute_at_100_hz(int8_file):
    check_real_run(Stream(int8_file, "litert"), 60)
