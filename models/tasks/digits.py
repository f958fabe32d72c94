"""Spoken digits of six people: which of ten, heard from a person whom training did not hear.

The Free Spoken Digit Dataset (Z. Jackson et al., CC BY-SA 4.0) has 50 recordings of each digit by
each of six speakers, at 8 kHz, trimmed, as ``recordings/DIGIT_SPEAKER_INDEX.wav``. The environment
variable EDGESTEP_SPOKEN_DIGITS names the folder that holds ``recordings``.

There is a task for each speaker, who is the test data. The next one in the list validates, and the
other four train. So all six tasks together are a leave-one-speaker-out evaluation
(``benchmarks/digits.py``).

Frames are mel energies less their running mean, and their differences: four speakers and their
microphones are few, and what a voice and a room add to all frames is taken off so. As in
:mod:`models.tasks.keywords`, each clip follows another one of the same speaker, because the front
end is never fresh on a device, and all is heard in a little noise, because no room is silent.
Training hears each recording several times, each time at another speed (higher and lower with it,
as other people's voices are), through another filter and in other noise.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin2, lfilter, resample_poly

from device_runner.front_ends.mel import Mel
from models.errors import ModelsError
from models.tasks.sequence_set import SequenceSet
from models.tasks.sound_folder import named_folder, read_wav
from models.tasks.task import Task

FOLDER_VARIABLE = "EDGESTEP_SPOKEN_DIGITS"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECORDED_RATE = 8000
# A frame of 32 ms every 20 ms; a mean of a second and a half, and what changes in 60 ms.
FRONT_END = Mel(
    RECORDED_RATE, window_samples=256, hop_samples=160, mels=31, mean_frames=75, delta_frames=3
)
# What is heard after a digit, in which the net may still decide.
TAIL_S = 0.1
LONGEST_S = 1.2
# How often training hears each recording, at which speeds, through filters of which deviation at
# FILTER_HZ, how loud, and in noise of which a sample keeps which share of the one before.
TAKES = 4
SPEEDS = (0.8, 1.25)
FILTER_DB = 4.0
FILTER_HZ = (0, 250, 600, 1200, 2400, RECORDED_RATE / 2)
FILTER_TAPS = 129
GAIN_DB = (-10.0, 6.0)
SIGNAL_TO_NOISE_DB = (10.0, 40.0)
COLOURS = (-0.3, 0.97)
# Validation and test data have noise, too: no room is silent.
QUIET_DB = (25.0, 40.0)
SEED = 22
_FILE_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True, order=True)
class Recording:
    """A file of the data set."""

    speaker: str
    index: int
    digit: int
    file: str


def data_facts() -> dict[str, Any]:
    """Tell what the tasks depend on: names and bytes of the recordings, and the front end."""
    folder = data_folder()
    return {
        "recordings": digest(folder, find_recordings(folder)),
        "front_end": FRONT_END.describe(),
        "takes": TAKES,
    }


def digest(folder: Path, recordings: Sequence[Recording]) -> str:
    """Compute the SHA-256 of names and bytes of recordings, hexadecimal."""
    hasher = hashlib.sha256()
    for recording in recordings:
        hasher.update(recording.file.encode())
        hasher.update((folder / "recordings" / recording.file).read_bytes())
    return hasher.hexdigest()


def data_folder() -> Path:
    """Return the folder that EDGESTEP_SPOKEN_DIGITS names; MissingDataError if there is none."""
    return named_folder(
        FOLDER_VARIABLE, "the tasks digits-SPEAKER need the Free Spoken Digit Dataset"
    )


@lru_cache(maxsize=2)
def _load_once(folder: Path, speaker: str) -> Task:
    return load_folder(folder, speaker)


def _load(speaker: str) -> Task:
    """Read the task whose test data one speaker recorded.

    Raises:
        MissingDataError: the variable is not set, or names no such folder.
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    return _load_once(data_folder(), speaker)


load_george = partial(_load, "george")
load_jackson = partial(_load, "jackson")
load_lucas = partial(_load, "lucas")
load_nicolas = partial(_load, "nicolas")
load_theo = partial(_load, "theo")
load_yweweler = partial(_load, "yweweler")


def find_recordings(folder: Path) -> list[Recording]:
    """Find all recordings of a folder, in a fixed order.

    Raises:
        ModelsError: a speaker or one of his digits is missing.
    """
    found = []
    for path in sorted((folder / "recordings").glob("*.wav")):
        match = _FILE_NAME.fullmatch(path.name)
        if match:
            digit, speaker, index = match.groups()
            found.append(Recording(speaker, int(index), int(digit), path.name))
    there = {(one.speaker, one.digit) for one in found}
    for speaker in SPEAKERS:
        for digit in range(len(LABELS)):
            if (speaker, digit) not in there:
                raise ModelsError(
                    f"{folder} has no recording of '{LABELS[digit]}' by {speaker} "
                    f"(recordings/{digit}_{speaker}_0.wav); unpack the data set again"
                )
    return sorted(one for one in found if one.speaker in SPEAKERS)


def speaker_parts(speaker: str) -> dict[str, tuple[str, ...]]:
    """Who trains, validates and tests where one speaker is the test data."""
    validates = SPEAKERS[(SPEAKERS.index(speaker) + 1) % len(SPEAKERS)]
    trains = tuple(one for one in SPEAKERS if one not in (speaker, validates))
    return {"training": trains, "validation": (validates,), "test": (speaker,)}


def load_folder(folder: Path, speaker: str) -> Task:
    """Make the task of one test speaker from the data set in ``folder``.

    Raises:
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    recordings = find_recordings(folder)
    sets = {
        part: _sequences(folder, part, [one for one in recordings if one.speaker in speakers])
        for part, speakers in speaker_parts(speaker).items()
    }
    return task_of_sound(f"digits-{speaker}", sets, LABELS, "its recordings", FRONT_END)


def task_of_sound(
    name: str, sets: dict[str, SequenceSet], labels: tuple[str, ...], what: str, front_end: Mel
) -> Task:
    """Make a task on frames of the data set.

    Args:
        sets: of "training", "validation" and "test".
        what: was made of the data set, for people.
        front_end: what made the frames.
    """
    return Task(
        name=name,
        train=sets["training"],
        validation=sets["validation"],
        test=sets["test"],
        labels=labels,
        channels=front_end.channel_names,
        units="logarithm of mel energy, less its running mean",
        frame_period_s=front_end.hop_samples / front_end.sample_rate,
        frame_period_source="the front end's hop",
        group_name="",  # the test data is one speaker
        source=f"Free Spoken Digit Dataset (Z. Jackson et al.), CC BY-SA 4.0, {what}; read from "
        f"the folder in {FOLDER_VARIABLE}",
        front_end=front_end.describe(),
    )


def _sequences(folder: Path, part: str, recordings: Sequence[Recording]) -> SequenceSet:
    chance = np.random.default_rng([SEED, len(recordings)])
    sounds = {one: read_recording(folder, one) for one in recordings}
    sequences, labels, groups = [], [], []
    for _ in range(TAKES if part == "training" else 1):
        for position, one in enumerate(recordings):
            before = recordings[position - 1]
            if before.speaker != one.speaker:
                before = recordings[position + 1]
            speed = drawn_speed(chance) if part == "training" else 1.0
            sequences.append(
                frames_of(
                    at_speed(sounds[before], speed),
                    at_speed(sounds[one], speed),
                    chance,
                    part == "training",
                )
            )
            labels.append(one.digit)
            groups.append(SPEAKERS.index(one.speaker))
    return SequenceSet(sequences, np.array(labels, np.int64), np.array(groups, np.int64))


def read_recording(folder: Path, recording: Recording) -> NDArray[np.float64]:
    """Read samples at RECORDED_RATE, LONGEST_S at most, in units of 16-bit samples."""
    samples = read_wav(folder / "recordings" / recording.file, RECORDED_RATE)
    return samples[: int(LONGEST_S * RECORDED_RATE)]


def drawn_speed(chance: np.random.Generator) -> float:
    """Draw at which speed training hears somebody."""
    return float(np.exp(chance.uniform(*np.log(SPEEDS))))


def at_speed(recorded: NDArray[np.float64], speed: float) -> NDArray[np.float64]:
    """Resample a recording so that it is spoken faster or slower (and higher or lower)."""
    resampled: NDArray[np.float64] = resample_poly(recorded, round(100 / speed), 100)
    return resampled


def as_heard(
    sound: NDArray[np.float64], chance: np.random.Generator, in_training: bool
) -> NDArray[np.float64]:
    """Add a little white noise to a sound at RECORDED_RATE; in training, put it through a filter
    before, make it louder or softer, and add more noise, of any colour."""
    if not in_training:
        white = chance.standard_normal(len(sound))
        return with_noise(sound, white, chance.uniform(*QUIET_DB))
    gains = 10 ** (chance.normal(0, FILTER_DB, len(FILTER_HZ)) / 20)
    taps = firwin2(FILTER_TAPS, FILTER_HZ, gains, fs=RECORDED_RATE)
    filtered = np.convolve(sound, taps, "same") * 10 ** (chance.uniform(*GAIN_DB) / 20)
    colour = chance.uniform(*COLOURS)
    noise = lfilter([np.sqrt(1 - colour**2)], [1, -colour], chance.standard_normal(len(sound)))
    return with_noise(filtered, noise, chance.uniform(*SIGNAL_TO_NOISE_DB))


def with_noise(
    sound: NDArray[np.float64], noise: NDArray[np.float64], decibels: float
) -> NDArray[np.float64]:
    """Add noise of power 1, made so many decibels fainter than the sound."""
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-decibels / 20)
    noisy: NDArray[np.float64] = sound + level * noise
    return noisy


def as_samples(sound: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round to samples of 16 bits."""
    return np.rint(np.clip(sound, -32768, 32767)).astype(np.int16)


def frames_of(
    before: NDArray[np.float64],
    sound: NDArray[np.float64],
    chance: np.random.Generator,
    in_training: bool,
) -> NDArray[np.float32]:
    """Compute the frames of a recording that is heard after another one.

    Args:
        before, sound: at RECORDED_RATE, in units of 16-bit samples.
        chance: draws what :func:`as_heard` needs.
        in_training: whether it is heard as training data is.

    Returns:
        float32 [frames of ``sound`` and its tail, channels of FRONT_END].
    """
    silence = np.zeros(int(TAIL_S * RECORDED_RATE))
    whole = np.concatenate([before, silence, sound, silence])
    whole = as_heard(whole, chance, in_training)
    own = (len(sound) + len(silence)) // FRONT_END.hop_samples
    return np.array(list(FRONT_END.frames([as_samples(whole)]))[-own:])
