"""Keep of a paced run what shows how it went through time, in little: the whole run in bins, and
frame by frame the stretch around the slowest response.

A frame has three times: its release, when its step began (the loop woke, or was done with the frame
before) and when its output was there. The last two are kept as nanoseconds after the release. A run
of a week needs no more room than one of ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# At most so many bins: about one for each pixel of a picture.
BINS = 400
# Frames of the stretch: before the slowest one, and from it on.
BEFORE, FROM = 8, 24

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """A paced run through time; all times are nanoseconds after a frame's own release.

    Args:
        frames_per_bin: frames of each bin; the last one may have fewer.
        begun: when the step of the bin's latest frame began.
        done: when the output of the bin's slowest frame was there.
        missed: how many of the bin's frames missed the deadline.
        first: number of the stretch's first frame, counted from 0.
        stretch_begun, stretch_done: of each frame of the stretch around the slowest response.
    """

    frames_per_bin: int
    begun: list[int]
    done: list[int]
    missed: list[int]
    first: int
    stretch_begun: list[int]
    stretch_done: list[int]


class TimelineRecorder:
    """Takes the times of ``frames`` frames in batches, in order.

    Args:
        deadline: nanoseconds after the release.
    """

    def __init__(self, frames: int, deadline: int) -> None:
        self.deadline = deadline
        self.size = -(-frames // BINS)
        bins = -(-frames // self.size)
        self.begun, self.done, self.missed = (np.zeros(bins, np.int64) for _ in range(3))
        self.seen = 0
        # The last frames [n, 2], begun and done; what a stretch may still need of them.
        self.recent = np.zeros((0, 2), np.int64)
        self.first, self.stretch = 0, np.zeros((0, 2), np.int64)
        self.slowest = -1

    def record(self, begun: Times, done: Times) -> None:
        """Add a batch of frames."""
        places = np.arange(self.seen, self.seen + len(done)) // self.size
        np.maximum.at(self.begun, places, begun)
        np.maximum.at(self.done, places, done)
        np.add.at(self.missed, places, done > self.deadline)
        self.seen += len(done)
        self.recent = np.concatenate([self.recent, np.stack([begun, done], axis=1)])
        self._find_slowest(len(self.recent) - FROM)
        self.recent = self.recent[-(BEFORE + FROM) :]

    def result(self) -> Timeline:
        self._find_slowest(len(self.recent))
        return Timeline(
            frames_per_bin=self.size,
            begun=self.begun.tolist(),
            done=self.done.tolist(),
            missed=self.missed.tolist(),
            first=self.first,
            stretch_begun=self.stretch[:, 0].tolist(),
            stretch_done=self.stretch[:, 1].tolist(),
        )

    def _find_slowest(self, end: int) -> None:
        """Keep the stretch around the slowest of the recent frames before ``end``."""
        if end <= 0:
            return
        place = int(self.recent[:end, 1].argmax())
        if self.recent[place, 1] > self.slowest:
            self.slowest = int(self.recent[place, 1])
            start = max(0, place - BEFORE)
            self.first = self.seen - len(self.recent) + start
            self.stretch = self.recent[start : place + FROM].copy()
