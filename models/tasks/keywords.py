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
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.log_mel import CHANNELS, HOP_SAMPLES, SAMPLE_RATE, LogMel, describe
from models.tasks import synthetic_speech
from models.tasks.keyword_clips import (
    NOISE_PARTS,
    Clip,
    clips_before,
    find_clips,
    read_clip,
    read_noises,
    split,
)
from models.tasks.sequence_set import SequenceSet
from models.tasks.sound_folder import named_folder
from models.tasks.synthetic_speech import (
    CLIP_SAMPLES,
    KEYWORDS,
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
# Training clips are heard in background noise of these levels below theirs, and earlier or later.
NOISY_SHARE = 0.8
SIGNAL_TO_NOISE_DB = (5.0, 30.0)
SHIFT_SAMPLES = SAMPLE_RATE // 10
# Silence is background noise at one of these gains.
SILENCE_GAIN_DB = (-50.0, 0.0)
SEED = 12


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
    return named_folder(
        FOLDER_VARIABLE,
        "the task keywords needs the data set Speech Commands",
        ", or take the task keywords-synthetic",
    )


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
    noises = read_noises(folder)
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
    before = clips_before(clips)
    numbers = {speaker: number for number, speaker in enumerate(speakers)}
    front_end = LogMel(FRONT_END)
    sequences, labels, groups = [], [], []
    for clip in spoken:
        sound = np.concatenate([read_clip(folder, before[clip]), read_clip(folder, clip)])
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
