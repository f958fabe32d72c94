"""Front ends of sound by their kind: what makes a model's frames of samples.

A model's contract describes its front end; ``front_end["kind"]`` is its name. (Those of text are in
device_runner/text.py.)
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_runner import log_mel, lpc_cepstrum
from device_runner.histogram import Histogram

# As a microphone's program or a file is read: 6.4 ms at 10 kHz, 4 ms at 16 kHz.
BLOCK_SAMPLES = 64


@dataclass(frozen=True)
class SoundFrontEnd:
    """A front end of sound.

    Attributes:
        sample_rate: of the sound, which is mono, in Hz.
        frames: blocks of int16 samples, of any length each -> frames as Stream.step takes them.
    """

    sample_rate: int
    frames: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


def sound_front_end(front_end: dict[str, Any] | None) -> SoundFrontEnd | None:
    """The front end that a contract describes; None where its frames are not made of sound."""
    if front_end is None:
        return None
    if front_end.get("kind") == log_mel.KIND:
        frames = functools.partial(log_mel.log_mel, front_end=front_end)
        return SoundFrontEnd(log_mel.SAMPLE_RATE, frames)
    if front_end.get("kind") == lpc_cepstrum.KIND:
        return SoundFrontEnd(lpc_cepstrum.SAMPLE_RATE, _cepstra)
    return None


def _cepstra(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    return lpc_cepstrum.cepstra(block.astype(np.float64) / 32768 for block in blocks)


def time_front_end(front_end: SoundFrontEnd, frames: int) -> Histogram:
    """Nanoseconds that it takes to make a frame of noise, of ``frames`` frames; the sound comes in
    blocks of BLOCK_SAMPLES.

    Raises:
        MissingRuntimeError: a package that the front end needs is not installed.
    """
    noise = np.random.default_rng(1).normal(0, 1000, (500, BLOCK_SAMPLES)).astype(np.int16)
    made = front_end.frames(itertools.cycle(noise))
    next(made)  # waits for a whole window
    clock, samples = time.perf_counter_ns, []
    for _ in range(frames):
        start = clock()
        next(made)
        samples.append(clock() - start)
    histogram = Histogram()
    histogram.record(np.array(samples, np.int64))
    return histogram
