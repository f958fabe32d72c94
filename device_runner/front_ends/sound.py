"""What a front end of sound is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

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
    frames: Callable[[Iterable[NDArray[Any]]], Iterator[NDArray[Any]]]

    def keeping(self, channels: list[int] | None) -> SoundFrontEnd:
        """The same front end, giving these channels of each frame alone; None for all."""
        if channels is None:
            return self
        whole = self.frames
        return SoundFrontEnd(
            self.sample_rate, lambda blocks: (frame[channels] for frame in whole(blocks))
        )
