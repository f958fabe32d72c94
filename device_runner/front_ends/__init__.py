"""Front ends, which make a model's frames from sound, text or samples. One file each, listed here.

A model's contract describes its front end as JSON; ``front_end["kind"]`` is its name in the list.
If a model reads only some of the channels, ``front_end["kept_channels"]`` lists their indices. The
list holds names of functions, so that reading it imports none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from device_runner.errors import BadModelError

if TYPE_CHECKING:
    from device_runner.front_ends.samples import SampleFrames
    from device_runner.front_ends.sound import SoundFrontEnd
    from device_runner.front_ends.spelling import Spelling
    from device_runner.front_ends.text import Tokenizer

KEPT_CHANNELS = "kept_channels"


class FrontEndEntry(NamedTuple):
    """A kind of front end in the list.

    Attributes:
        implementation: "module.function" within this package. It turns a contract's description
            into the front end (of sound a SoundFrontEnd, of text a Tokenizer, of samples
            SampleFrames, of words to be spoken a Spelling), or raises BadModelError.
        medium: what it makes frames from.
        purpose: what it is for, in a few words.
    """

    implementation: str
    medium: Literal["sound", "text", "samples", "spelling"]
    purpose: str


FRONT_ENDS: dict[str, FrontEndEntry] = {
    "log-mel": FrontEndEntry("log_mel.read", "sound", "spoken keywords"),
    "lpc-cepstrum": FrontEndEntry("lpc_cepstrum.read", "sound", "sustained vowels"),
    "mel": FrontEndEntry("mel.read", "sound", "any sound, with sizes of one's own"),
    "characters": FrontEndEntry("text.Tokenizer", "text", "a token a character"),
    "pieces": FrontEndEntry("text.Tokenizer", "text", "a token a word or a part of one"),
    "words": FrontEndEntry("text.Tokenizer", "text", "a token a word or mark"),
    "spelled-words": FrontEndEntry("spelling.read", "spelling", "words to be spoken"),
    "samples": FrontEndEntry("samples.read", "samples", "several samples of a sensor a frame"),
}


def sound_front_end(description: Mapping[str, Any] | None) -> SoundFrontEnd | None:
    """Return the front end that a contract describes; None if its frames are not made from sound.

    Raises:
        BadModelError: the description is unknown here, or keeps channels that do not exist.
    """
    found: SoundFrontEnd | None = _read(description, "sound")
    return found


def sample_frames(description: Mapping[str, Any] | None) -> SampleFrames | None:
    """Return how a contract gathers samples into frames; None if it does not.

    Raises:
        BadModelError: the description is damaged.
    """
    found: SampleFrames | None = _read(description, "samples")
    return found


def spelled_words(description: Mapping[str, Any] | None) -> Spelling | None:
    """Return how a contract's model reads the words that it speaks; None if it speaks none.

    Raises:
        BadModelError: the description is damaged.
    """
    found: Spelling | None = _read(description, "spelling")
    return found


def tokenizer(description: Mapping[str, Any] | None) -> Tokenizer | None:
    """Return the tokenizer that a contract describes; None if its frames are not made from text.

    Raises:
        BadModelError: the description is damaged.
    """
    found: Tokenizer | None = _read(description, "text")
    return found


def is_text(description: Mapping[str, Any] | None) -> bool:
    """Tell whether a contract's front end is a tokenizer."""
    entry = _entry(description)
    return entry is not None and entry.medium == "text"


def narrowed_front_end(front_end: dict[str, Any], channels: list[int]) -> dict[str, Any]:
    """Describe a front end that gives only these of ``front_end``'s channels, in this order."""
    given = front_end.get(KEPT_CHANNELS)
    kept = channels if given is None else [given[channel] for channel in channels]
    return {**front_end, KEPT_CHANNELS: kept}


def kept_channels(description: Mapping[str, Any], channels: int) -> list[int] | None:
    """Return which of ``channels`` a description keeps, in their order; None for all.

    Raises:
        BadModelError: it keeps channels that do not exist.
    """
    kept = description.get(KEPT_CHANNELS)
    if kept is not None and (
        not isinstance(kept, list)
        or not all(type(channel) is int and 0 <= channel < channels for channel in kept)
    ):
        raise BadModelError(
            f"the model's front end keeps channels {str(kept)[:100]}, but makes 0 to "
            f"{channels - 1}; export the model again"
        )
    return kept


def _entry(description: Mapping[str, Any] | None) -> FrontEndEntry | None:
    # In a file of unknown origin, a kind may be any JSON.
    return None if description is None else FRONT_ENDS.get(str(description.get("kind")))


def _read(description: Mapping[str, Any] | None, medium: str) -> Any:
    entry = _entry(description)
    if entry is None or entry.medium != medium:
        return None
    module, _, function = entry.implementation.partition(".")
    return getattr(importlib.import_module(f"device_runner.front_ends.{module}"), function)(
        description
    )
