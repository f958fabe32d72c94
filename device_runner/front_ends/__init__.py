"""Front ends of sound by their kind: what makes a model's frames of samples.

A model's contract describes its front end; ``front_end["kind"]`` is its name. (Those of text are in
device_runner/front_ends/text.py.) For a model that reads some of the channels alone,
``front_end["kept_channels"]`` lists their indices.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_runner.errors import BadModelError
from device_runner.front_ends import log_mel, lpc_cepstrum
from device_runner.measure.histogram import Histogram

# As a microphone's program or a file is read: 6.4 ms at 10 kHz, 4 ms at 16 kHz.
BLOCK_SAMPLES = 64
KEPT_CHANNELS = "kept_channels"


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
    """The front end that a contract describes; None where its frames are not made of sound.

    Raises:
        BadModelError: the channels that it keeps are not there.
    """
    if front_end is None:
        return None
    whole = {name: value for name, value in front_end.items() if name != KEPT_CHANNELS}
    frames: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]
    if whole.get("kind") == log_mel.KIND:
        sample_rate, channels = log_mel.SAMPLE_RATE, log_mel.CHANNELS
        frames = functools.partial(log_mel.log_mel, front_end=whole)
    elif whole.get("kind") == lpc_cepstrum.KIND:
        sample_rate, channels = lpc_cepstrum.SAMPLE_RATE, lpc_cepstrum.ORDER
        frames = _cepstra
    else:
        return None
    kept = front_end.get(KEPT_CHANNELS)
    if kept is None:
        return SoundFrontEnd(sample_rate, frames)
    if not isinstance(kept, list) or not all(
        type(channel) is int and 0 <= channel < channels for channel in kept
    ):
        raise BadModelError(
            f"the model's front end keeps channels {str(kept)[:100]}, but makes 0 to "
            f"{channels - 1}; export the model again"
        )
    return SoundFrontEnd(sample_rate, lambda blocks: (frame[kept] for frame in frames(blocks)))


def narrowed_front_end(front_end: dict[str, Any], channels: list[int]) -> dict[str, Any]:
    """The description of a front end that gives these channels alone, in this order, of those that
    ``front_end`` gives."""
    given = front_end.get(KEPT_CHANNELS)
    kept = channels if given is None else [given[channel] for channel in channels]
    return {**front_end, KEPT_CHANNELS: kept}


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
