"""Speak: text through a step model of speech synthesis to columns of log-mel energies.

Each word begins with the state anew. The model reads its letters; what it then says of the duration
is how many frames it speaks (:mod:`device_runner.front_ends.spelling`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, BadModelError
from device_runner.front_ends import spelled_words
from device_runner.front_ends.mel_columns import Columns
from device_runner.front_ends.spelling import Spelling
from device_runner.stream import Stream

PAUSE_S = 0.12
# Whatever a model says: no word is shorter or longer.
SHORTEST_S, LONGEST_S = 0.1, 2.0


class Voice:
    """Says words with a step model.

    Args:
        stream: of a model of the task ``speech-synthesis``.

    Attributes:
        spelling: the words it knows.
        columns: how its columns become sound.

    Raises:
        BadInputError: it is a model of something else.
        BadModelError: its front end is damaged.
    """

    def __init__(self, stream: Stream) -> None:
        front_end = stream.model.contract.front_end
        found = spelled_words(front_end)
        if front_end is None or found is None:
            raise BadInputError(
                f"{stream.model.path} does not speak; take a model of the task speech-synthesis"
            )
        self.spelling: Spelling = found
        self.columns = Columns.read(front_end.get("sound"))
        labels = len(stream.model.labels)
        if labels != self.columns.mels + 1:
            raise BadModelError(
                f"{stream.model.path} gives {labels} values, but its front end tells of "
                f"{self.columns.mels} channels and a duration; export the model again"
            )
        self._stream = stream

    def word(self, word: str, rate: float = 1.0) -> Iterator[NDArray[np.float32]]:
        """Speak one of the words, a column [mels] in dB at a time.

        Args:
            rate: how fast, against the model's own speed.

        Raises:
            BadInputError: the word is unknown, or the rate is not above 0.
        """
        if not rate > 0:
            raise BadInputError(f"the rate is {rate}; it must be above 0")
        (known,) = self.spelling.read(word)
        self._stream.reset()
        duration = 0.0
        for frame in self.spelling.letters(known):
            columns = float(np.ravel(np.asarray(self._stream.step(frame)))[-1])
            duration = columns * self.columns.period_s
        duration = min(max(duration, SHORTEST_S), LONGEST_S) / rate
        count = max(1, round(duration / self.columns.period_s))
        for frame in self.spelling.speaking(count, duration):
            values = np.ravel(np.asarray(self._stream.step(frame)))
            yield values[:-1].astype(np.float32)

    def text(self, text: str, rate: float = 1.0) -> Iterator[NDArray[np.float32]]:
        """Speak a text with pauses between its words, a column [mels] in dB at a time.

        Raises:
            BadInputError: there is an unknown word in it, or the rate is not above 0.
        """
        pause = np.full(self.columns.mels, self.columns.floor_db, np.float32)
        for number, word in enumerate(self.spelling.read(text)):
            if number:
                yield from [pause] * round(PAUSE_S / self.columns.period_s)
            yield from self.word(word, rate)
