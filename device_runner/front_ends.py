"""Front ends of sound by their kind: what makes a model's frames of samples.

A model's contract describes its front end; ``front_end["kind"]`` is its name. (Those of text are in
device_runner/text.py.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_runner import log_mel, lpc_cepstrum


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
