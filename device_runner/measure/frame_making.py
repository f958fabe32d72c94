"""Measure what it costs to make a frame from sound, before the step."""

from __future__ import annotations

import itertools
import time

import numpy as np

from device_runner.front_ends.sound import BLOCK_SAMPLES, SoundFrontEnd
from device_runner.measure.histogram import Histogram
from device_runner.measure.latency import Latency, garbage_uncollected, summarize

FRAMES = 1000


def time_front_end(front_end: SoundFrontEnd, frames: int = FRAMES) -> Latency:
    """Measure in nanoseconds how long it takes to make each of ``frames`` frames from noise.

    The sound comes in blocks of BLOCK_SAMPLES.

    Raises:
        MissingRuntimeError: a package that the front end needs is not installed.
    """
    noise = np.random.default_rng(1).normal(0, 1000, (500, BLOCK_SAMPLES)).astype(np.int16)
    made = front_end.frames(itertools.cycle(noise))
    clock, samples = time.perf_counter_ns, []
    with garbage_uncollected():
        next(made)  # waits for a whole window
        for _ in range(frames):
            start = clock()
            next(made)
            samples.append(clock() - start)
    histogram = Histogram()
    histogram.record(np.array(samples, np.int64))
    return summarize(histogram)
