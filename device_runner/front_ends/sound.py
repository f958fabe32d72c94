"""What a front end for sound is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

# Samples read at once from a microphone or a file: 6.4 ms at 10 kHz, 4 ms at 16 kHz.
BLOCK_SAMPLES = 64


@dataclass(frozen=True)
class SoundFrontEnd:
    """A front end for sound.

    Attributes:
        sample_rate: sample rate in Hz of the sound, which is mono.
        frames: turns blocks of int16 samples, of any length, into frames for Stream.step.
    """

    sample_rate: int
    frames: Callable[[Iterable[NDArray[Any]]], Iterator[NDArray[Any]]]

    def keeping(self, channels: list[int] | None) -> SoundFrontEnd:
        """Return a front end that gives only these channels of each frame; None for all."""
        if channels is None:
            return self
        whole = self.frames
        return SoundFrontEnd(
            self.sample_rate, lambda blocks: (frame[channels] for frame in whole(blocks))
        )
