"""The window of a model that is asked for its last frames: which frames it answers, and how.

Such a model was trained on sequences of a fixed length, each from the initial state. To answer for
the last ``steps`` frames, every ``hop`` frames, the step computes several sequences at once. Each
has one row of every state and output, a *lane*. A lane begins anew when its window has ended.

Frames are counted from 0 since the reset. All who step a model with a window ask this module:
backends, verification, exporters and the conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

# Hostile files may say more. A minute of single samples at 16 kHz is a million frames.
LONGEST_WINDOW = 2**20
MOST_LANES = 2**16


class Turn(NamedTuple):
    """What happens at a frame.

    Attributes:
        given: the row of the outputs that a stream gives at the frame; None if it gives none.
        beginning: the row of the states that begins anew after the frame, for the next one; None if
            none does.
        following: the next frame, as :meth:`Window.reduced` counts it.
    """

    given: int | None
    beginning: int | None
    following: int


@dataclass(frozen=True)
class Window:
    """Which frames a model answers, and which row of its tensors has the answer.

    Args:
        steps: frames in a window.
        hop: frames from one answer to the next.
        lanes: rows of every state and output, :func:`lanes_needed`. 0 if the states hold the
            window's last frames and the graph computes the whole window at once: then no state
            begins anew, and the output's only row is the answer.

    Example:
        >>> window = Window(steps=5, hop=2, lanes=3)
        >>> [frame for frame in range(12) if window.answers(frame)]
        [4, 6, 8, 10]
        >>> [window.beginning_row(frame) for frame in range(8)]
        [0, None, 1, None, 2, None, 0, None]
        >>> [window.answering_row(frame) for frame in range(4, 12)]
        [0, None, 1, None, 2, None, 0, None]
    """

    steps: int
    hop: int
    lanes: int

    def answers(self, frame: int) -> bool:
        """Tell whether a frame has an answer."""
        return frame >= self.steps - 1 and (frame - self.steps + 1) % self.hop == 0

    def answering_row(self, frame: int) -> int | None:
        """Return the row of every output that is a frame's answer, or None if it has none."""
        if not self.answers(frame):
            return None
        return (frame - self.steps + 1) // self.hop % self.lanes if self.lanes else 0

    def given_row(self, frame: int) -> int | None:
        """Return the row of every output that a stream gives at a frame, or None.

        That is the answer's. Before the first window is full, lanes give what the model says of the
        frames so far, a hop apart as later: more than nothing, and what a sequence shorter than the
        window ends with.

        Example:
            >>> [Window(steps=5, hop=2, lanes=3).given_row(frame) for frame in range(7)]
            [0, None, 0, None, 0, None, 1]
        """
        if frame >= self.steps - 1:
            return self.answering_row(frame)
        return 0 if self.lanes and (frame - self.steps + 1) % self.hop == 0 else None

    def beginning_row(self, frame: int) -> int | None:
        """Return the row of every state that begins anew before a frame, or None."""
        return frame // self.hop % self.lanes if self.lanes and frame % self.hop == 0 else None

    def answered_frames(self, frames: int) -> range:
        """Return which of the first frames have an answer.

        Example:
            >>> list(Window(steps=5, hop=2, lanes=3).answered_frames(9))
            [4, 6, 8]
        """
        return range(self.steps - 1, frames, self.hop)

    @property
    def cycle(self) -> int:
        """Number of frames after which all rows have the same turns again."""
        return self.hop * max(self.lanes, 1)

    def reduced(self, frame: int) -> int:
        """Return the number below ``steps + cycle`` of a frame with the same turns.

        It keeps the counter of an endless stream small. The frame before it has the same turn, too.

        Example:
            >>> window = Window(steps=5, hop=2, lanes=3)
            >>> [window.reduced(frame) for frame in (0, 10, 11, 17, 18)]
            [0, 10, 5, 5, 6]
        """
        if frame < self.steps + self.cycle:
            return frame
        return self.steps + (frame - self.steps) % self.cycle

    def turns(self) -> list[Turn]:
        """Return the turn of every frame below ``steps + cycle``."""
        return [
            Turn(self.given_row(frame), self.beginning_row(frame + 1), self.reduced(frame + 1))
            for frame in range(self.steps + self.cycle)
        ]


def lanes_needed(steps: int, hop: int) -> int:
    """Return how many windows are under way at once.

    Example:
        >>> lanes_needed(50, 1), lanes_needed(7, 3), lanes_needed(50, 50)
        (50, 3, 1)
    """
    return -(-steps // hop)


def window_from_json(raw: dict[str, Any] | None) -> Window | None:
    """Read the contract's field ``window``.

    Raises:
        TypeError: a field is unknown or missing.
        ValueError: the numbers do not make a window.
    """
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise ValueError("window must be an object or null")
    window = Window(**raw)
    check_window(window)
    return window


def check_window(window: Window) -> None:
    """Raise ValueError unless the numbers make a window."""
    for name, value in (("steps", window.steps), ("hop", window.hop)):
        if type(value) is not int or not 1 <= value <= LONGEST_WINDOW:
            raise ValueError(f"window has {name} {value!r}, not 1 to {LONGEST_WINDOW:,} frames")
    needed = lanes_needed(window.steps, window.hop)
    if type(window.lanes) is not int or window.lanes not in (0, needed):
        raise ValueError(
            f"window of {window.steps} frames, every {window.hop}, has {window.lanes!r} lanes, "
            f"not {needed} or 0"
        )
    if window.lanes > MOST_LANES:
        raise ValueError(f"window has {window.lanes:,} lanes, more than {MOST_LANES:,}")
