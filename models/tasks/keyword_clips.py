"""The folder of the data set Speech Commands: its clips, who says them, and how they sound.

A folder per word holds files ``SPEAKER_nohash_N.wav`` (mono, 16 bits, 16 kHz, one second or less),
``_background_noise_`` long files; lists name the validation and test files.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.log_mel import SAMPLE_RATE
from models.errors import ModelsError
from models.tasks.sound_folder import read_wav
from models.tasks.synthetic_speech import (
    CLIP_SAMPLES,
    KEYWORDS,
    NOISE_FOLDER,
    TESTING_LIST,
    VALIDATION_LIST,
)

# Without lists, the hash of the speaker decides.
HELD_OUT_SHARE = 0.1
# The parts of each noise file that belong to training, validation and test.
NOISE_PARTS = {"training": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
_FILE_NAME = re.compile(r"(.+)_nohash_\d+\.wav")


@dataclass(frozen=True, order=True)
class Clip:
    """A recording: who said which word, and the file, relative to the data set's folder."""

    speaker: str
    word: str
    file: str


def find_clips(folder: Path) -> list[Clip]:
    """Find all recordings of words in a folder, in a fixed order.

    Raises:
        ModelsError: a keyword has no recordings, or there are no other words.
    """
    clips = []
    for path in sorted(folder.glob("*/*.wav")):
        match = _FILE_NAME.fullmatch(path.name)
        if match and path.parent.name != NOISE_FOLDER:
            word = path.parent.name
            clips.append(Clip(match.group(1), word, f"{word}/{path.name}"))
    words = {clip.word for clip in clips}
    missing = [word for word in KEYWORDS if word not in words]
    if missing or not words - set(KEYWORDS):
        what = f"the words {', '.join(missing)}" if missing else "words beside the keywords"
        raise ModelsError(
            f"{folder} has no recordings (WORD/SPEAKER_nohash_N.wav) of {what}; name the folder "
            "that Speech Commands was unpacked into"
        )
    return clips


def split(folder: Path, clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of "training", "validation" and "test": by the folder's two lists, or, where both
    are missing, by a hash of the speaker, a tenth of the speakers in each of the latter two.

    Raises:
        ModelsError: one list is missing or names no clip of this folder, or a part is empty.
    """
    lists = {"validation": VALIDATION_LIST, "test": TESTING_LIST}
    there = [file for file in lists.values() if (folder / file).exists()]
    parts: dict[str, list[Clip]] = {"training": [], "validation": [], "test": []}
    if there and len(there) < len(lists):
        raise ModelsError(
            f"{folder} has {there[0]} alone; put the other list there, or remove this one to split "
            "by speaker"
        )
    held_out: dict[str, str] = {}
    for part, file in lists.items():
        if there:
            listed = (folder / file).read_text(encoding="utf-8").split()
            held_out.update(dict.fromkeys(listed, part))
    unknown = held_out.keys() - {clip.file for clip in clips}
    if unknown:
        raise ModelsError(
            f"{folder}: {len(unknown)} files of the lists are not there, as {min(unknown)}; "
            "unpack the data set again"
        )
    for clip in clips:
        parts[held_out.get(clip.file, "training") if there else speaker_part(clip.speaker)].append(
            clip
        )
    for part, chosen in parts.items():
        without = [word for word in KEYWORDS if word not in {clip.word for clip in chosen}]
        if without:
            raise ModelsError(
                f"{folder} has no {part} recordings of '{without[0]}'; check {VALIDATION_LIST} and "
                f"{TESTING_LIST}"
            )
    return parts


def speaker_part(speaker: str) -> str:
    """Find the part that a speaker belongs to by the hash of the name."""
    place = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big") / 2**64
    if place < HELD_OUT_SHARE:
        return "validation"
    return "test" if place < 2 * HELD_OUT_SHARE else "training"


def clips_before(clips: Sequence[Clip]) -> dict[Clip, Clip]:
    """For each clip the one of the same speaker that is heard before; itself where it is alone."""
    by_speaker = defaultdict(list)
    for clip in sorted(clips):
        by_speaker[clip.speaker].append(clip)
    return {
        clip: said[position - 1]
        for said in by_speaker.values()
        for position, clip in enumerate(said)
    }


def read_clip(folder: Path, clip: Clip) -> NDArray[Any]:
    """A second of sound, float64 [16000] in units of 16-bit samples; silence after its end."""
    samples = read_wav(folder / clip.file, SAMPLE_RATE)[:CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - len(samples)))


def read_noises(folder: Path) -> list[NDArray[Any]]:
    noises = [read_wav(path, SAMPLE_RATE) for path in sorted((folder / NOISE_FOLDER).glob("*.wav"))]
    # Two seconds of the shortest part.
    shortest = 2 * CLIP_SAMPLES / min(last - first for first, last in NOISE_PARTS.values())
    long_enough = [noise for noise in noises if len(noise) >= shortest + 1]
    if not long_enough:
        raise ModelsError(
            f"{folder / NOISE_FOLDER} has no WAV file of at least {shortest / SAMPLE_RATE:.0f} "
            "seconds; unpack the data set again"
        )
    return long_enough
