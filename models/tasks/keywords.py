"""Spoken keywords: which of ten words, another word or silence, from log-mel frames of one second.

The twelve labels and the shares of unknown words and silence are the usual ones (P. Warden, "Speech
Commands: a dataset for limited-vocabulary speech recognition", 2018, arXiv 1804.03209). The loader
reads that data set's folder layout: a folder per word with files ``SPEAKER_nohash_N.wav`` (mono, 16
bits, 16 kHz, one second or less), ``_background_noise_`` with long files, and lists of the
validation and test files.

- ``keywords``: the real data set, in the folder that the environment variable
  EDGESTEP_SPEECH_COMMANDS names.
- ``keywords-synthetic``: SYNTHETIC speech in the same layout (models/tasks/synthetic_speech.py).

The front end follows its sound for about a second, and on a device it is never fresh. So each clip
is heard after another one of the same speaker, whose frames are left out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import re
import wave
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.log_mel import CHANNELS, HOP_SAMPLES, SAMPLE_RATE, LogMel, describe
from models.errors import MissingDataError, ModelsError
from models.tasks import synthetic_speech
from models.tasks.sequence_set import SequenceSet
from models.tasks.synthetic_speech import (
    CLIP_SAMPLES,
    KEYWORDS,
    NOISE_FOLDER,
    TESTING_LIST,
    VALIDATION_LIST,
)
from models.tasks.task import Task

FOLDER_VARIABLE = "EDGESTEP_SPEECH_COMMANDS"
LABELS = ("silence", "unknown", *KEYWORDS)
SILENCE, UNKNOWN = 0, 1
# Clips of unknown words and of silence, as a share of those of keywords.
EXTRA_SHARE = 0.1
# Of the front end's frames, 10 ms apart, every second one: half the steps for the same sound.
EVERY = 2
FRONT_END = describe(EVERY)
STEPS = CLIP_SAMPLES // (EVERY * HOP_SAMPLES)
# Without lists, the hash of the speaker decides.
HELD_OUT_SHARE = 0.1
# Training clips are heard in background noise of these levels below theirs, and earlier or later.
NOISY_SHARE = 0.8
SIGNAL_TO_NOISE_DB = (5.0, 30.0)
SHIFT_SAMPLES = SAMPLE_RATE // 10
# Silence is background noise at one of these gains.
SILENCE_GAIN_DB = (-50.0, 0.0)
# The parts of each noise file that belong to training, validation and test.
NOISE_PARTS = {"training": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
SEED = 12
_FILE_NAME = re.compile(r"(.+)_nohash_\d+\.wav")


@dataclass(frozen=True, order=True)
class Clip:
    """A recording: who said which word, and the file, relative to the data set's folder."""

    speaker: str
    word: str
    file: str


def load() -> Task:
    """Read the real data set, from the folder that EDGESTEP_SPEECH_COMMANDS names.

    Raises:
        MissingDataError: the variable is not set, or names no such folder.
        ModelsError: the folder holds something else than the data set.
    """
    return _load_once(
        _named_folder(),
        "keywords",
        "Warden (2018), Speech Commands, CC BY 4.0; read from the folder in " + FOLDER_VARIABLE,
    )


def load_synthetic() -> Task:
    """Read the task on SYNTHETIC speech, which is made on the first call.

    Raises:
        MissingDataError: flite or espeak-ng is not installed.
    """
    return _load_once(
        synthetic_speech.ensure(),
        "keywords-synthetic",
        "SYNTHETIC speech of flite's and espeak-ng's voices in computed noise, no recordings of "
        "people; other voices in training, validation and test data",
    )


def data_facts() -> dict[str, Any]:
    """Tell what the task keywords depends on: names and sizes of the files, and the front end."""
    return _facts(_named_folder())


def synthetic_data_facts() -> dict[str, Any]:
    """Tell what the task keywords-synthetic depends on, in the same way."""
    return _facts(synthetic_speech.ensure())


def _facts(folder: Path) -> dict[str, Any]:
    LogMel(FRONT_END)  # says what to install where its library is missing
    hasher = hashlib.sha256()
    for path in sorted(folder.glob("*/*.wav")):
        hasher.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    for path in (folder / VALIDATION_LIST, folder / TESTING_LIST):
        hasher.update(path.read_bytes() if path.exists() else b"none")
    return {
        "files": hasher.hexdigest(),
        "front_end": FRONT_END,
        "library": importlib.metadata.version(FRONT_END["library"]),
    }


def _named_folder() -> Path:
    place = os.environ.get(FOLDER_VARIABLE)
    if not place:
        raise MissingDataError(
            f"the task keywords needs the data set Speech Commands; set {FOLDER_VARIABLE} to the "
            "folder you unpacked it into, or take the task keywords-synthetic"
        )
    if not Path(place).is_dir():
        raise MissingDataError(
            f"there is no folder {place}; set {FOLDER_VARIABLE} to the unpacked data set"
        )
    return Path(place)


@lru_cache(maxsize=1)
def _load_once(folder: Path, name: str, source: str) -> Task:
    # A recipe's stages ask for the task again and again; the whole real set takes minutes.
    return load_folder(folder, name, source)


def load_folder(folder: Path, name: str, source: str) -> Task:
    """Make a task on the data set in ``folder``.

    Raises:
        ModelsError: it holds something else than the data set, or a damaged file.
    """
    parts = split(folder, find_clips(folder))
    noises = _read_noises(folder)
    speakers = sorted({clip.speaker for part in parts.values() for clip in part})
    sets = {
        part: _sequences(folder, part, clips, noises, speakers) for part, clips in parts.items()
    }
    return Task(
        name=name,
        train=sets["training"],
        validation=sets["validation"],
        test=sets["test"],
        labels=LABELS,
        channels=tuple(f"mel {channel}" for channel in range(1, CHANNELS + 1)),
        units="log-mel energy after noise reduction and gain control",
        frame_period_s=EVERY * HOP_SAMPLES / SAMPLE_RATE,
        frame_period_source=f"one in {EVERY} of the front end's frames, which are 10 ms apart",
        group_name="",  # a table by speaker would have thousands of rows
        source=source,
        front_end=FRONT_END,
    )


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


def _sequences(
    folder: Path,
    part: str,
    clips: Sequence[Clip],
    noises: Sequence[NDArray[Any]],
    speakers: Sequence[str],
) -> SequenceSet:
    """Frames of a part's keywords, and of a share of its unknown words and of silence."""
    chance = np.random.default_rng([SEED, list(NOISE_PARTS).index(part)])
    first, last = NOISE_PARTS[part]
    own_noises = [noise[int(first * len(noise)) : int(last * len(noise))] for noise in noises]
    spoken = [clip for clip in clips if clip.word in KEYWORDS]
    others = [clip for clip in clips if clip.word not in KEYWORDS]
    extra = math.ceil(EXTRA_SHARE * len(spoken))
    if others:
        spoken += [
            others[i] for i in chance.choice(len(others), min(extra, len(others)), replace=False)
        ]
    before = _clips_before(clips)
    numbers = {speaker: number for number, speaker in enumerate(speakers)}
    front_end = LogMel(FRONT_END)
    sequences, labels, groups = [], [], []
    for clip in spoken:
        sound = np.concatenate([_read_clip(folder, before[clip]), _read_clip(folder, clip)])
        if part == "training":
            sound = _augmented(sound, own_noises, chance)
        sequences.append(_frames(front_end, sound))
        labels.append(LABELS.index(clip.word) if clip.word in KEYWORDS else UNKNOWN)
        groups.append(numbers[clip.speaker])
    for _ in range(extra):
        gain = 10 ** (chance.uniform(*SILENCE_GAIN_DB) / 20)
        sequences.append(_frames(front_end, gain * _cut(own_noises, chance)))
        labels.append(SILENCE)
        groups.append(-1)
    return SequenceSet(sequences, np.array(labels, np.int64), np.array(groups, np.int64))


def _clips_before(clips: Sequence[Clip]) -> dict[Clip, Clip]:
    """For each clip the one of the same speaker that is heard before; itself where it is alone."""
    by_speaker = defaultdict(list)
    for clip in sorted(clips):
        by_speaker[clip.speaker].append(clip)
    return {
        clip: said[position - 1]
        for said in by_speaker.values()
        for position, clip in enumerate(said)
    }


def _augmented(
    sound: NDArray[Any], noises: Sequence[NDArray[Any]], chance: np.random.Generator
) -> NDArray[Any]:
    """Two clips after each other, a little earlier or later, mostly in background noise."""
    shifted = np.roll(sound, chance.integers(-SHIFT_SAMPLES, SHIFT_SAMPLES + 1))
    if chance.random() >= NOISY_SHARE:
        return shifted
    noise = _cut(noises, chance)
    level = _rms(sound) / max(_rms(noise), 1.0)
    loudness = level * 10 ** (-chance.uniform(*SIGNAL_TO_NOISE_DB) / 20)
    return np.asarray(shifted + loudness * noise)


def _cut(noises: Sequence[NDArray[Any]], chance: np.random.Generator) -> NDArray[Any]:
    """Two seconds somewhere in one of the noises."""
    noise = noises[chance.integers(len(noises))]
    start = chance.integers(len(noise) - 2 * CLIP_SAMPLES + 1)
    return noise[start : start + 2 * CLIP_SAMPLES]


def _rms(sound: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def _frames(front_end: LogMel, sound: NDArray[Any]) -> NDArray[Any]:
    """Frames [STEPS, 40] of the second of two seconds of sound, in units of 16-bit samples."""
    front_end.reset()
    return front_end(np.rint(np.clip(sound, -32768, 32767)).astype(np.int16))[-STEPS:]


def _read_clip(folder: Path, clip: Clip) -> NDArray[Any]:
    """A second of sound, float64 [16000] in units of 16-bit samples; silence after its end."""
    samples = _read_wav(folder / clip.file)[:CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - len(samples)))


def _read_noises(folder: Path) -> list[NDArray[Any]]:
    noises = [_read_wav(path) for path in sorted((folder / NOISE_FOLDER).glob("*.wav"))]
    # Two seconds of the shortest part.
    shortest = 2 * CLIP_SAMPLES / min(last - first for first, last in NOISE_PARTS.values())
    long_enough = [noise for noise in noises if len(noise) >= shortest + 1]
    if not long_enough:
        raise ModelsError(
            f"{folder / NOISE_FOLDER} has no WAV file of at least {shortest / SAMPLE_RATE:.0f} "
            "seconds; unpack the data set again"
        )
    return long_enough


def _read_wav(path: Path) -> NDArray[Any]:
    """All samples of a file, float64 [samples] in units of 16-bit samples.

    Raises:
        ModelsError: it is damaged, or not mono of 16 bits at 16 kHz.
    """
    try:
        with wave.open(str(path), "rb") as sound:
            form = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            content = sound.readframes(sound.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise ModelsError(f"{path} cannot be read ({error}); unpack the data set again") from error
    if form != (1, 2, SAMPLE_RATE):
        raise ModelsError(
            f"{path} has {form[0]} channel(s) of {8 * form[1]} bits at {form[2]} Hz; the data "
            f"set's files are mono of 16 bits at {SAMPLE_RATE} Hz"
        )
    return np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float64)
