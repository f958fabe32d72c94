"""Spell words for models that speak: first a word's letters, then how far its sound has come.

A model of speech synthesis reads one letter a frame and says after each how many columns the whole
word takes. Then it speaks: each frame tells how much of the word is over, and the model gives the
sound of that place as a column of log-mel energies (:mod:`device_runner.synthesis`). So it encodes
and decodes with one step and one state.

The front end of such a model is described by a JSON-ready dict, which a contract keeps: the words,
and how sound was turned into columns (:mod:`device_runner.front_ends.mel_columns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, BadModelError

KIND = "spelled-words"


@dataclass(frozen=True)
class Spelling:
    """Turns words into frames.

    Args:
        words: what may be said, in lower case. A digit stands for the word of its place in them.

    Example:
        >>> spelling = Spelling(("no", "on"))
        >>> spelling.channels
        ('letter n', 'letter o', 'speaking', 'position', 'duration')
        >>> spelling.letters("no").tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]]
        >>> spelling.speaking(2, 0.5).tolist()
        [[0.0, 0.0, 1.0, 0.25, 0.5], [0.0, 0.0, 1.0, 0.75, 0.5]]
        >>> spelling.read("On 0")
        ['on', 'no']
    """

    words: tuple[str, ...]

    @property
    def alphabet(self) -> str:
        """The letters of the words, each once."""
        return "".join(sorted(set("".join(self.words))))

    @property
    def channels(self) -> tuple[str, ...]:
        """What the values of a frame are."""
        return (*(f"letter {one}" for one in self.alphabet), "speaking", "position", "duration")

    def letters(self, word: str) -> NDArray[np.float32]:
        """Make the frames of a word's letters, float32 [letters, channels]."""
        frames = np.zeros((len(word), len(self.channels)), np.float32)
        frames[np.arange(len(word)), [self.alphabet.index(one) for one in word]] = 1
        return frames

    def speaking(self, count: int, duration_s: float) -> NDArray[np.float32]:
        """Make the frames in which a word is spoken, float32 [count, channels].

        Args:
            count: number of frames.
            duration_s: what the word takes, in seconds, as it was spoken or as the model said.
        """
        frames = np.zeros((count, len(self.channels)), np.float32)
        frames[:, -3] = 1
        frames[:, -2] = (np.arange(count) + 0.5) / count
        frames[:, -1] = duration_s
        return frames

    def read(self, text: str) -> list[str]:
        """Split a text into words that can be said; digits become words.

        Raises:
            BadInputError: there is another word in it, or none.
        """
        found = []
        for one in text.lower().replace(",", " ").split():
            if one.isdecimal() and one.isascii():
                numbers = [int(digit) for digit in one]
                if max(numbers) < len(self.words):
                    found += [self.words[number] for number in numbers]
                    continue
            if one not in self.words:
                raise BadInputError(
                    f"'{one[:50]}' cannot be said; the model knows {', '.join(self.words)}"
                )
            found.append(one)
        if not found:
            raise BadInputError(f"nothing to say; the model knows {', '.join(self.words)}")
        return found


def describe(words: Sequence[str], sound: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the front end in JSON-ready words, as a model's contract keeps it.

    Args:
        words: what may be said.
        sound: how the columns were made, as ``Columns.describe`` gives it.
    """
    return {"kind": KIND, "words": list(words), "sound": dict(sound)}


def read(description: Mapping[str, Any]) -> Spelling:
    """Read a contract's description.

    Raises:
        BadModelError: it is damaged.
    """
    words = description.get("words")
    if (
        not isinstance(words, list)
        or not words
        or not all(isinstance(word, str) and word.isalpha() and word.islower() for word in words)
    ):
        raise BadModelError(
            f"the model's front end spells {str(words)[:100]}, which are no words; export the "
            "model again"
        )
    return Spelling(tuple(words))
