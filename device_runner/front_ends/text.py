"""Turn text into token ids and back, with the same code in training and on the device.

A tokenizer is described by a JSON-ready dict, the ``front_end`` of a task and of a step model's
contract:

- ``{"kind": "characters", "alphabet": TEXT, "lowercase": BOOL}``: one token a character;
- ``{"kind": "pieces", "vocabulary": [PIECE...], "lowercase": BOOL}``: from the left, each time the
  longest piece that the text goes on with; a piece may be a word with the space before it, or one
  character;
- ``{"kind": "words", "vocabulary": [WORD...], "lowercase": BOOL}``: one token a word or mark.

Id 0 is padding, 1 stands for everything unknown, the others follow in the order of the
description. A description of characters or pieces may have ``end`` (the character that ends a text)
and ``separator`` (the one between a text and its translation), both among its tokens.

Text is first brought to Unicode's composed form (NFC), and each run of white space in a line
becomes one space.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadModelError

PADDING_ID = 0
UNKNOWN_ID = 1
FIRST_ID = 2
UNKNOWN_CHARACTER = "\N{REPLACEMENT CHARACTER}"
# A word with its apostrophes, or one mark. It is code and not part of a description, because a
# pattern from a model's file could take forever.
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Split a text into words and marks: "don't stop!" is "don't", "stop", "!"."""
    return _WORD.findall(text)


def normalize(text: str) -> str:
    """Bring a text to NFC, with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


class Tokenizer:
    """Encodes text by a description, see the module.

    Attributes:
        vocabulary: number of different ids.
        tokens: text of each id from FIRST_ID on.
        end_id, separator_id: ids of those characters, or None.

    Raises:
        BadModelError: the description is not of a kind above.
    """

    def __init__(self, front_end: Mapping[str, Any]) -> None:
        kind = front_end.get("kind")
        entry = {"characters": "alphabet", "pieces": "vocabulary", "words": "vocabulary"}.get(
            str(kind)
        )
        listed = front_end.get(entry) if entry else None
        if (
            not isinstance(listed, (str, list, tuple))
            or not listed
            or not all(isinstance(token, str) and token for token in listed)
            or len(set(listed)) != len(listed)
        ):
            raise BadModelError(
                f"the front end '{kind}' is not a known tokenizer, or its tokens are not "
                "different texts; use the edgestep version that made this file, or export it again"
            )
        self.tokens: tuple[str, ...] = tuple(listed)
        self.vocabulary = FIRST_ID + len(self.tokens)
        splits: dict[str, Callable[[str], Iterable[str]]] = {
            "characters": iter,
            "pieces": self._pieces,
            "words": split_words,
        }
        self._split = splits[str(kind)]
        self._space = " " if kind == "words" else ""
        self._longest = max(map(len, self.tokens))
        self._lowercase = bool(front_end.get("lowercase"))
        self._ids = {token: number for number, token in enumerate(self.tokens, FIRST_ID)}
        self.end_id = self._special(front_end, "end")
        self.separator_id = self._special(front_end, "separator")

    def encode(self, text: str, verbatim: bool = False) -> NDArray[np.int32]:
        """Return the ids of a text, int32 [tokens]; none for an empty text.

        Args:
            verbatim: keep the text's white space as it is, including line ends and separators.
        """
        if not verbatim:
            text = normalize(text)
        if self._lowercase:
            text = text.lower()
        return np.array([self._ids.get(token, UNKNOWN_ID) for token in self._split(text)], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without padding; the unknown id becomes a replacement mark."""
        tokens = [self._token(int(number)) for number in ids if number != PADDING_ID]
        return self._space.join(tokens)

    def names(self) -> tuple[str, ...]:
        """Return a printable name of each id, such as for the labels of a language model."""
        return ("(padding)", "(unknown)", *map(_name, self.tokens))

    def _pieces(self, text: str) -> Iterator[str]:
        start = 0
        while start < len(text):
            length = next(
                (n for n in range(self._longest, 1, -1) if text[start : start + n] in self._ids), 1
            )
            yield text[start : start + length]
            start += length

    def _token(self, number: int) -> str:
        return UNKNOWN_CHARACTER if number < FIRST_ID else self.tokens[number - FIRST_ID]

    def _special(self, front_end: Mapping[str, Any], role: str) -> int | None:
        token = front_end.get(role)
        if token is None:
            return None
        if not isinstance(token, str) or token not in self._ids:
            raise BadModelError(
                f"the front end's {role} {token!r} is not among its tokens; export the model again"
            )
        return self._ids[token]


def describe_characters(
    texts: Iterable[str],
    lowercase: bool = False,
    least_count: int = 1,
    **specials: str,
) -> dict[str, Any]:
    """Describe a character tokenizer for texts like these.

    It has their characters that occur at least ``least_count`` times after normalization, the most
    frequent first, and the ``specials``.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalize(text).lower() if lowercase else normalize(text))
    alphabet = [token for token, count in _by_count(counts) if count >= least_count]
    alphabet += [token for token in specials.values() if token not in alphabet]
    return {
        "kind": "characters",
        "alphabet": "".join(alphabet),
        "lowercase": lowercase,
        **specials,
    }


def describe_words(
    texts: Iterable[str], lowercase: bool = True, least_count: int = 1
) -> dict[str, Any]:
    """Describe a word tokenizer for texts like these.

    It has their words and marks that occur at least ``least_count`` times, the most frequent first.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_words(normalize(text).lower() if lowercase else normalize(text)))
    vocabulary = [token for token, count in _by_count(counts) if count >= least_count]
    return {"kind": "words", "vocabulary": vocabulary, "lowercase": lowercase}


def describe_pieces(vocabulary: Iterable[str], **specials: str) -> dict[str, Any]:
    """Describe a tokenizer of these pieces, all of them different texts, and the ``specials``."""
    pieces = list(vocabulary)
    pieces += [token for token in specials.values() if token not in pieces]
    return {"kind": "pieces", "vocabulary": pieces, "lowercase": False, **specials}


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    """Sort by count, the most frequent first, and equal counts by their text."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _name(text: str) -> str:
    if text == " ":
        return "(space)"
    # The space before a word, in a piece of one, is made visible.
    text = text.replace(" ", "\N{LOWER ONE EIGHTH BLOCK}")
    return text if text.isprintable() else f"({ascii(text)[1:-1]})"
