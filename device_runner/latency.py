"""What one step costs: latencies of single steps, several models interleaved in one run.

Three things are timed, each step on its own, in integer nanoseconds of a monotonic clock:

- ``step``: what a user pays: input written, invoke, state passed on, output read;
- ``invoke``: the bare invoke of the runtime, without the loop around it;
- ``float_step``: the step with real-valued input and output, quantized and dequantized in NumPy.

The models take turns in short rounds, so that a change of clock frequency or a busy neighbour
hits all of them alike: within one run their ratios can be trusted more than their absolutes.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from device_runner.stream import Stream

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# A percentile p is reported from at least this many samples above it.
SAMPLES_ABOVE_PERCENTILE = 10
# Histogram bins per factor of two: neighbouring bins differ by 9 %.
BINS_PER_OCTAVE = 8


@dataclass(frozen=True)
class BenchSettings:
    """How to measure. ``steps`` is the number of timed steps of each model, cut into ``rounds``
    in which the models take turns; ``warmup_s`` is the untimed run-up of each model in seconds."""

    steps: int = 20_000
    rounds: int = 20
    warmup_s: float = 0.5


@dataclass(frozen=True)
class Latency:
    """Statistics of the latencies of single steps; all times in nanoseconds.

    ``percentiles`` maps "p50" ... "p99.9" to times, or to None where there were too few samples
    to say. ``histogram`` lists [lower edge, count] of the non-empty logarithmic bins.
    """

    samples: int
    minimum: int
    mean: float
    standard_deviation: float
    percentiles: dict[str, int | None]
    maximum: int
    histogram: list[tuple[int, int]]


@dataclass(frozen=True)
class ModelLatency:
    """All that was measured of one model. Times in nanoseconds; ``headroom`` is how many times
    the frame period exceeds the p99.9 (or the largest percentile known) of the whole step."""

    first_step: int
    step: Latency
    invoke: Latency
    float_step: Latency
    deadline: int
    deadline_misses: int
    headroom: float


def measure(streams: Sequence[Stream], settings: BenchSettings) -> list[ModelLatency]:
    """Measure several models side by side, on their golden sequences over and over.

    The state is carried on all the time, as on an endless stream.
    """
    probes = [_Probe(stream) for stream in streams]
    for probe in probes:
        probe.warm_up(settings.warmup_s)
    per_round = math.ceil(settings.steps / settings.rounds)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(settings.rounds):
            for probe in probes:
                probe.run_round(per_round)
    finally:
        if collecting:
            gc.enable()
    return [probe.result() for probe in probes]


def clock_overhead_ns() -> int:
    """Median cost of reading the clock, which every sample includes once."""
    samples = []
    for _ in range(1001):
        start = time.perf_counter_ns()
        samples.append(time.perf_counter_ns() - start)
    return int(np.median(samples))


def summarize(samples: Sequence[int]) -> Latency:
    """Statistics of latencies in nanoseconds; percentiles are nearest-rank, so each is a
    latency that occurred."""
    ordered = np.sort(np.asarray(samples, np.int64))
    count = len(ordered)
    percentiles: dict[str, int | None] = {}
    for percentile in PERCENTILES:
        enough = count * (1 - percentile / 100) >= SAMPLES_ABOVE_PERCENTILE - 1e-6
        # In tenths of a percent the rank is exact: 0.999 * 10,000 is above 9,990 in floats.
        rank = -(-round(percentile * 10) * count // 1000) - 1
        percentiles[f"p{percentile:g}"] = int(ordered[rank]) if enough else None
    bins = np.floor(np.log2(np.maximum(ordered, 1)) * BINS_PER_OCTAVE).astype(int)
    numbers, counts = np.unique(bins, return_counts=True)
    return Latency(
        samples=count,
        minimum=int(ordered[0]),
        mean=float(ordered.mean()),
        standard_deviation=float(ordered.std()),
        percentiles=percentiles,
        maximum=int(ordered[-1]),
        histogram=[
            (math.ceil(2 ** (number / BINS_PER_OCTAVE)), int(n))
            for number, n in zip(numbers, counts, strict=True)
        ],
    )


class _Probe:
    """One model's frames and samples."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        golden = stream.model.golden
        stored = stream.model.contract.input.quantize(golden.x)
        self.frames: list[bytes] = [row.tobytes() for row in stored]
        self.vectors: list[np.ndarray] = list(golden.x)
        self.step_ns: list[int] = []
        self.invoke_ns: list[int] = []
        self.float_step_ns: list[int] = []
        self.first_step = 0

    def warm_up(self, seconds: float) -> None:
        self.stream.reset()
        start = time.perf_counter_ns()
        self.stream.step_bytes(self.frames[0])
        self.first_step = time.perf_counter_ns() - start
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for frame in self.frames:
                self.stream.step_bytes(frame)

    def run_round(self, count: int) -> None:
        stream = self.stream
        # A few untimed steps first: the caches hold the previous model's weights.
        for frame in itertools.islice(itertools.cycle(self.frames), 10):
            stream.step_bytes(frame)
        _time_calls(stream.step_bytes, _cycle(self.frames, count), self.step_ns)
        _time_calls(stream.backend.invoke, itertools.repeat((), count), self.invoke_ns)
        _time_calls(stream.step, _cycle(self.vectors, max(1, count // 10)), self.float_step_ns)

    def result(self) -> ModelLatency:
        step = summarize(self.step_ns)
        deadline = round(self.stream.model.contract.frame_period_s * 1e9)
        known = [value for value in step.percentiles.values() if value is not None]
        return ModelLatency(
            first_step=self.first_step,
            step=step,
            invoke=summarize(self.invoke_ns),
            float_step=summarize(self.float_step_ns),
            deadline=deadline,
            deadline_misses=int(np.sum(np.asarray(self.step_ns) > deadline)),
            headroom=deadline / max(known[-1] if known else step.maximum, 1),
        )


def _time_calls(function: Callable, calls: Iterable[tuple], samples: list[int]) -> None:
    clock = time.perf_counter_ns
    for arguments in calls:
        start = clock()
        function(*arguments)
        samples.append(clock() - start)


def _cycle(items: Sequence, count: int) -> Iterator[tuple]:
    """``count`` argument tuples, going through ``items`` over and over."""
    return ((item,) for item in itertools.islice(itertools.cycle(items), count))
