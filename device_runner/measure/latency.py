"""Measure what one step costs, back to back, with several models interleaved in one run.

Each step is timed on its own, in integer nanoseconds of a monotonic clock:

- ``step``: what a user pays: write the input, invoke, hand the state on, read the output.
- ``input``, ``invoke``, ``state``, ``output``: these four separately, in other steps, as reading
the
  clock between them costs some tens of nanoseconds each.
- ``float_step``: the step with real-valued input and output, quantized and dequantized in NumPy.

The models take turns in short rounds, so that a change of clock frequency or a busy neighbour hits
all of them alike. Within one run, their ratios can be trusted more than their absolute values.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import Backend
from device_runner.measure.histogram import Histogram
from device_runner.model.frames import stored_frames
from device_runner.model.rows import golden_places
from device_runner.stream import Stream

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
# A percentile p is reported from at least this many samples above it.
SAMPLES_ABOVE_PERCENTILE = 10
PARTS = ("input", "invoke", "state", "output")


@dataclass(frozen=True)
class BenchSettings:
    """How to measure.

    Args:
        steps: number of timed steps of each model.
        rounds: number of rounds that the steps are cut into; the models take turns by round.
        warmup_s: untimed run-up of each model, in seconds.
        keep_samples: whether the latency of every whole step is kept.
    """

    steps: int = 20_000
    rounds: int = 20
    warmup_s: float = 0.5
    keep_samples: bool = False


@dataclass(frozen=True)
class Latency:
    """Statistics of the latencies of single steps; all times in nanoseconds.

    Args:
        samples: number of steps.
        percentiles: from "p50" ... "p99.9" to times, or to None if there are too few samples. They
            are at most 0.1 % too large.
        histogram: [lower edge, count] of the non-empty bins, 8 per factor of two.
        round_p99: the 99th percentile of each round that has enough samples for one. What disturbs
            a machine now and then is in a few rounds, and so not in their median.
    """

    samples: int
    minimum: int
    mean: float
    standard_deviation: float
    percentiles: dict[str, int | None]
    maximum: int
    histogram: list[tuple[int, int]]
    round_p99: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ModelLatency:
    """All that was measured of one model, in nanoseconds.

    Args:
        load: time to load the model into the runtime.
        first_step: time of the very first step.
        headroom: how many times the frame period (``deadline``) exceeds the largest known
            percentile of the whole step.
        samples: all whole steps in order, if they were kept.
    """

    load: int
    first_step: int
    step: Latency
    input: Latency
    invoke: Latency
    state: Latency
    output: Latency
    float_step: Latency
    deadline: int
    deadline_misses: int
    headroom: float
    samples: NDArray[np.int64] | None = None


def measure(
    streams: Sequence[Stream],
    settings: BenchSettings,
    progress: Callable[[float], None] | None = None,
) -> list[ModelLatency]:
    """Measure several models side by side, on their golden sequences over and over.

    The state is carried on all the time, as in an endless stream. Between rounds, ``progress`` is
    told the share that is done.
    """
    probes = [_Probe(stream, settings) for stream in streams]
    for probe in probes:
        probe.warm_up(settings.warmup_s)
    per_round = math.ceil(settings.steps / settings.rounds)
    with garbage_uncollected():
        for done in range(settings.rounds):
            for probe in probes:
                probe.run_round(per_round)
            if progress:
                progress((done + 1) / settings.rounds)
    return [probe.result() for probe in probes]


@contextlib.contextmanager
def garbage_uncollected() -> Iterator[None]:
    """Collect garbage now, and then not until the end of the block."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def clock_overhead_ns() -> int:
    """Return the median cost of reading the clock, which every sample includes once."""
    samples = []
    for _ in range(1001):
        start = time.perf_counter_ns()
        samples.append(time.perf_counter_ns() - start)
    return int(np.median(samples))


def samples_needed(percentile: float) -> int:
    """Return how many samples a percentile needs before it is reported."""
    return math.ceil(SAMPLES_ABOVE_PERCENTILE / (1 - percentile / 100) - 1e-6)


def round_percentile(samples: NDArray[np.int64]) -> list[int]:
    """Return the 99th percentile of a round's nanoseconds, none if there are too few."""
    if len(samples) < samples_needed(99):
        return []
    return [int(np.percentile(samples, 99, method="inverted_cdf"))]


def summarize(histogram: Histogram, round_p99: Sequence[int] = ()) -> Latency:
    """Compute the statistics of a non-empty histogram of nanoseconds."""
    return Latency(
        samples=histogram.count,
        minimum=histogram.minimum,
        mean=histogram.mean,
        standard_deviation=histogram.standard_deviation,
        percentiles={
            f"p{percentile:g}": histogram.percentile(percentile)
            if histogram.count >= samples_needed(percentile)
            else None
            for percentile in PERCENTILES
        },
        maximum=histogram.maximum,
        histogram=histogram.bins(),
        round_p99=list(round_p99),
    )


def headroom(deadline: int, latency: Latency) -> float:
    """Return how many times the deadline exceeds the largest known percentile, or the maximum."""
    known = [value for value in latency.percentiles.values() if value is not None]
    return deadline / max(known[-1] if known else latency.maximum, 1)


def golden_frames(stream: Stream) -> list[bytes]:
    """Return the frames of the model's golden sequences, as stored.

    Of a model that takes rows, each row has another frame of them.
    """
    return stored_frames(_golden_values(stream), stream.model.contract.inputs)


def _golden_values(stream: Stream) -> dict[str, NDArray[Any]]:
    """Return what a call takes of each input, [calls, *frame shape]."""
    golden, contract = stream.model.golden, stream.model.contract
    if contract.rows == 1:
        return golden.inputs
    places = golden_places(golden.lengths, contract.rows)[0]
    return {
        spec.name: golden.inputs[spec.name][places].reshape(len(places), *spec.frame_shape)
        for spec in contract.inputs
    }


def time_parts(backend: Backend, frame: bytes) -> tuple[int, int, int, int, int]:
    """Do one step and read the clock before, between and after its four calls."""
    clock = time.perf_counter_ns
    start = clock()
    backend.put(frame)
    written = clock()
    backend.invoke()
    computed = clock()
    backend.advance()
    advanced = clock()
    backend.get()
    return start, written, computed, advanced, clock()


class _Probe:
    """One model's frames, and what was recorded of it."""

    def __init__(self, stream: Stream, settings: BenchSettings) -> None:
        self.stream = stream
        # In the stored form, and in real units.
        self.frames = itertools.cycle(golden_frames(stream))
        values = tuple(_golden_values(stream).values())
        self.vectors = itertools.cycle(values[0] if len(values) == 1 else zip(*values, strict=True))
        self.step, self.float_step = Histogram(), Histogram()
        self.parts = {name: Histogram() for name in PARTS}
        self.deadline = round(stream.model.contract.frame_period_s * 1e9)
        self.deadline_misses = 0
        self.round_p99: list[int] = []
        self.first_step = 0
        self.kept: list[NDArray[np.int64]] | None = [] if settings.keep_samples else None

    def warm_up(self, seconds: float) -> None:
        self.stream.reset()
        start = time.perf_counter_ns()
        self.stream.step_bytes(next(self.frames))
        self.first_step = time.perf_counter_ns() - start
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for frame in itertools.islice(self.frames, 20):
                self.stream.step_bytes(frame)

    def run_round(self, count: int) -> None:
        stream = self.stream
        # A few untimed steps first: the caches hold the previous model's weights.
        for frame in itertools.islice(self.frames, 10):
            stream.step_bytes(frame)
        samples = np.array(_time_calls(stream.step_bytes, self.frames, count), np.int64)
        self.step.record(samples)
        self.round_p99 += round_percentile(samples)
        self.deadline_misses += int(np.sum(samples > self.deadline))
        if self.kept is not None:
            self.kept.append(samples)
        backend = stream.backend
        readings = [time_parts(backend, frame) for frame in itertools.islice(self.frames, count)]
        for name, nanoseconds in zip(PARTS, np.diff(readings).T, strict=True):
            self.parts[name].record(nanoseconds)
        self.float_step.record(_time_calls(stream.step, self.vectors, max(1, count // 10)))

    def result(self) -> ModelLatency:
        step = summarize(self.step, self.round_p99)
        return ModelLatency(
            load=self.stream.load_ns,
            first_step=self.first_step,
            step=step,
            **{name: summarize(histogram) for name, histogram in self.parts.items()},
            float_step=summarize(self.float_step),
            deadline=self.deadline,
            deadline_misses=self.deadline_misses,
            headroom=headroom(self.deadline, step),
            samples=None if self.kept is None else np.concatenate(self.kept),
        )


def _time_calls(
    function: Callable[[Any], object], arguments: Iterator[Any], count: int
) -> list[int]:
    clock = time.perf_counter_ns
    samples = []
    for argument in itertools.islice(arguments, count):
        start = clock()
        function(argument)
        samples.append(clock() - start)
    return samples
