"""Measure what one step costs at the pace of real use: one frame per period, sleeping between.

Caches cool down and clocks drop while the device sleeps, so a paced step is slower than one of many
back to back. Frame k is released at start + k * period, an absolute time that no delay moves. The
loop sleeps until then and steps. It misses the deadline if it is not done when the next frame is
released. Frames that are released meanwhile are not dropped, but stepped at once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runner.measure.histogram import Histogram
from device_runner.measure.latency import (
    PARTS,
    Latency,
    garbage_uncollected,
    golden_frames,
    headroom,
    summarize,
    time_parts,
)
from device_runner.measure.timeline import Timeline, TimelineRecorder
from device_runner.stream import Stream

# Untimed frames at the start, at the same pace.
WARM_UP_FRAMES = 10
# How many frames' clock readings are collected before they go into the histograms.
BATCH = 1024


@dataclass(frozen=True)
class PacedSettings:
    """How to measure.

    Args:
        duration_s: how long to measure, in seconds.
        period_s: seconds from one frame to the next; None for the model's own frame period.
        keep_samples: whether the response to every frame is kept.
    """

    duration_s: float = 10.0
    period_s: float | None = None
    keep_samples: bool = False


@dataclass(frozen=True)
class PacedLatency:
    """All that was measured of one model at its pace, in nanoseconds.

    Args:
        step: the step alone, its four timed parts together.
        wake_up: how late the loop woke for the frames that it slept for, if any: the jitter of the
            machine's timer and scheduler.
        response: the time from a frame's release to its output.
        deadline_misses: number of responses longer than the period (``deadline``).
        queued: number of frames that were released before the previous one was done.
        headroom: the period over the largest known percentile of the response.
        timeline: the run through time.
        samples: the responses in order, if they were kept.
    """

    load: int
    first_step: int
    frames: int
    step: Latency
    input: Latency
    invoke: Latency
    state: Latency
    output: Latency
    wake_up: Latency | None
    response: Latency
    deadline: int
    deadline_misses: int
    queued: int
    headroom: float
    timeline: Timeline
    samples: NDArray[np.int64] | None = None


def measure_paced(
    stream: Stream, settings: PacedSettings, progress: Callable[[float], None] | None = None
) -> PacedLatency:
    """Step a model's golden sequences over and over, one frame per period.

    ``progress`` is told now and then, if there is time, which share is done.
    """
    period = round((settings.period_s or stream.model.contract.frame_period_s) * 1e9)
    count = max(1, round(settings.duration_s * 1e9 / period))
    recorder = _Recorder(count, period, settings.keep_samples)
    frames = itertools.cycle(golden_frames(stream))
    stream.reset()
    start = time.perf_counter_ns()
    stream.step_bytes(next(frames))
    first_step = time.perf_counter_ns() - start
    backend = stream.backend
    with garbage_uncollected():
        # time.perf_counter_ns is CLOCK_MONOTONIC, which time.sleep uses too.
        release = time.perf_counter_ns() + period
        for frame in itertools.islice(frames, WARM_UP_FRAMES):
            _sleep_until(release)
            time_parts(backend, frame)
            release = max(release + period, time.perf_counter_ns())
        for done, frame in enumerate(itertools.islice(frames, count), 1):
            slept = _sleep_until(release)
            recorder.add(release, slept, time_parts(backend, frame))
            release += period
            if progress and done % BATCH == 0:
                progress(done / count)
    if progress:
        progress(1.0)
    return recorder.result(stream.load_ns, first_step)


def _sleep_until(release: int) -> bool:
    """Sleep until a reading of the clock; False if it has already passed."""
    early = release - time.perf_counter_ns()
    if early <= 0:
        return False
    while early > 0:
        time.sleep(early / 1e9)
        early = release - time.perf_counter_ns()
    return True


class _Recorder:
    def __init__(self, count: int, period: int, keep_samples: bool) -> None:
        self.period = period
        self.timeline = TimelineRecorder(count, period)
        self.kept: list[NDArray[np.int64]] | None = [] if keep_samples else None
        self.batch: list[tuple[int, ...]] = []
        names = ("step", *PARTS, "wake_up", "response")
        self.histograms = {name: Histogram() for name in names}
        self.misses = self.queued = 0

    def add(self, release: int, slept: bool, readings: tuple[int, ...]) -> None:
        self.batch.append((release, slept, *readings))
        if len(self.batch) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        table = np.array(self.batch, np.int64).reshape(len(self.batch), 2 + len(PARTS) + 1)
        self.batch.clear()
        release, slept, readings = table[:, 0], table[:, 1].astype(bool), table[:, 2:]
        response = readings[:, -1] - release
        parts = np.diff(readings)
        for name, nanoseconds in zip(PARTS, parts.T, strict=True):
            self.histograms[name].record(nanoseconds)
        self.histograms["step"].record(parts.sum(1))
        begun = readings[:, 0] - release
        self.histograms["wake_up"].record(begun[slept])
        self.histograms["response"].record(response)
        self.timeline.record(begun, response)
        self.misses += int(np.sum(response > self.period))
        self.queued += int(np.sum(~slept))
        if self.kept is not None:
            self.kept.append(response)

    def result(self, load: int, first_step: int) -> PacedLatency:
        self._flush()
        wake_up = self.histograms.pop("wake_up")
        summaries = {name: summarize(found) for name, found in self.histograms.items()}
        return PacedLatency(
            load=load,
            first_step=first_step,
            frames=summaries["response"].samples,
            **summaries,
            wake_up=summarize(wake_up) if wake_up.count else None,
            deadline=self.period,
            deadline_misses=self.misses,
            queued=self.queued,
            headroom=headroom(self.period, summaries["response"]),
            timeline=self.timeline.result(),
            samples=None if self.kept is None else np.concatenate(self.kept),
        )
