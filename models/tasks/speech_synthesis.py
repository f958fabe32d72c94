"""Speech synthesis: from a word's letters to its sound, a column of log-mel energies at a time.

One speaker of :mod:`models.tasks.digits` says the ten digits. The network reads a word's letters,
one a step, and then gives a column every 10 ms while it is told how far the word has come
(:mod:`device_runner.front_ends.spelling`). It also says how long the word takes, which is what a
device lets it speak; in training it is told how long the recording is.

The duration is given in columns: in int8 all outputs share one grid, of a fraction of a dB, on
which seconds would be rounded to quarters.

That is a recurrent acoustic model with durations, as of H. Zen and H. Sak, "Unidirectional long
short-term memory recurrent neural network with recurrent output layer for low-latency speech
synthesis" (ICASSP 2015), with letters for their linguistic features.
"""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.mel_columns import Columns, check_library
from device_runner.front_ends.spelling import Spelling, describe
from models.metrics import Metric
from models.tasks import digits
from models.tasks.digits import Recording, find_recordings
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

# Of the six he has the quietest recordings: their faintest 10 ms are 54 dB below the loudest ones
# in the median, the others' 20 to 39 dB.
SPEAKER = "lucas"
COLUMNS = Columns()
SPELLING = Spelling(digits.LABELS)
# Recordings by their index: the data set's own advice is to test on the first ones.
TEST, VALIDATION = range(5), range(5, 10)
# What is cut off before and after a word is fainter than this against its loudest column.
SPEECH_DB = -30.0
POSITIONS = 50


def load() -> Task:
    """Read the task.

    Raises:
        MissingDataError: EDGESTEP_SPOKEN_DIGITS is not set, or names no such folder.
        MissingRuntimeError: librosa is not installed.
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    return _load_once(digits.data_folder())


def data_facts() -> dict[str, Any]:
    """Tell what the task depends on: the bytes of the recordings and how they become columns.

    Raises:
        MissingDataError: EDGESTEP_SPOKEN_DIGITS is not set, or names no such folder.
        MissingRuntimeError: librosa is not installed.
        ModelsError: a speaker or a digit is missing.
    """
    folder = digits.data_folder()
    check_library()
    return {
        "recordings": digits.digest(folder, recordings(folder)),
        "sound": COLUMNS.describe(),
        "library": importlib.metadata.version("librosa"),
    }


@lru_cache(maxsize=1)
def _load_once(folder: Path) -> Task:
    return load_folder(folder)


def load_folder(folder: Path) -> Task:
    """Make the task from the data set in ``folder``.

    Raises:
        MissingRuntimeError: librosa is not installed.
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    parts: dict[str, list[Recording]] = {"training": [], "validation": [], "test": []}
    for one in recordings(folder):
        parts[part_of(one)].append(one)
    sets = {part: _sequences(folder, found) for part, found in parts.items()}
    return Task(
        name="speech-synthesis",
        train=sets["training"],
        validation=sets["validation"],
        test=sets["test"],
        labels=(*(f"mel {number}" for number in range(1, COLUMNS.mels + 1)), "duration"),
        channels=SPELLING.channels,
        units="letters and 'speaking' are 0 or 1, the position goes from 0 to 1, seconds",
        frame_period_s=COLUMNS.period_s,
        frame_period_source="the columns are 10 ms apart",
        group_name="",  # one speaker
        source="Free Spoken Digit Dataset (Z. Jackson et al.), CC BY-SA 4.0, its recordings by "
        f"{SPEAKER}; read from the folder in {digits.FOLDER_VARIABLE}",
        front_end=describe(SPELLING.words, COLUMNS.describe()),
        metric=Metric(
            "mean absolute error", "dB", False, "of the log-mel energies while it speaks", error_db
        ),
        baselines=baselines,
    )


def recordings(folder: Path) -> list[Recording]:
    """Find the speaker's recordings; ModelsError if one of his digits is missing."""
    return [one for one in find_recordings(folder) if one.speaker == SPEAKER]


def part_of(recording: Recording) -> str:
    """Tell whether a recording is of the "training", "validation" or "test" data."""
    if recording.index in TEST:
        return "test"
    return "validation" if recording.index in VALIDATION else "training"


def spoken_columns(folder: Path, recording: Recording) -> NDArray[np.float32]:
    """Compute the columns of a recording from where its speech begins to where it ends, float32
    [columns, mels] in dB."""
    columns = COLUMNS.analyse(digits.read_recording(folder, recording))
    loud = np.flatnonzero(columns.max(1) > SPEECH_DB)
    return columns[loud[0] : loud[-1] + 1]


def _sequences(folder: Path, found: list[Recording]) -> SequenceSet:
    frames, values = [], []
    for one in found:
        columns = spoken_columns(folder, one)
        duration = len(columns) * COLUMNS.period_s
        letters = SPELLING.letters(digits.LABELS[one.digit])
        frames.append(np.concatenate([letters, SPELLING.speaking(len(columns), duration)]))
        silence = np.full((len(letters), COLUMNS.mels), COLUMNS.floor_db, np.float32)
        sound = np.concatenate([silence, columns])
        values.append(np.insert(sound, COLUMNS.mels, len(columns), 1).astype(np.float32))
    return SequenceSet(
        frames,
        np.array([one.digit for one in found], np.int64),
        np.zeros(len(found), np.int64),
        values=values,
    )


def error_db(outputs: NDArray[Any], data: SequenceSet) -> float:
    """Compute the mean absolute error of all channels while a word is spoken, in dB: what is given
    while letters are read is never heard."""
    speaking = data.padded[..., -3] > 0
    length = speaking.shape[1]
    given, wanted = outputs[:, :length, :-1][speaking], data.targets[..., :-1][speaking]
    return float(np.mean(np.abs(given - wanted)))


def baselines(task: Task) -> dict[str, float]:
    """Judge speech without a network: the mean column of the training data all the time; and each
    digit's mean trajectory, stretched to the recording's length."""
    mean, _ = task.value_spread
    everywhere = np.broadcast_to(mean, task.test.targets.shape)
    trajectories = mean_trajectories(task.train)
    copied = np.zeros(task.test.targets.shape, np.float32)
    for row, digit, frames in zip(copied, task.test.labels, task.test.sequences, strict=True):
        speaking = np.flatnonzero(frames[:, -3])
        row[speaking, :-1] = stretched(trajectories[digit], len(speaking))
    return {
        "training mean": error_db(everywhere, task.test),
        "mean trajectory of each digit": error_db(copied, task.test),
    }


def mean_trajectories(data: SequenceSet) -> NDArray[np.float32]:
    """Average the columns of each digit at POSITIONS places from its begin to its end, float32
    [digits, POSITIONS, mels]."""
    sums = np.zeros((len(digits.LABELS), POSITIONS, COLUMNS.mels))
    for digit, frames, values in zip(data.labels, data.sequences, data.values or [], strict=True):
        sums[digit] += stretched(values[frames[:, -3] > 0, :-1], POSITIONS)
    counts = np.bincount(data.labels, minlength=len(sums))
    return np.asarray(sums / np.maximum(counts, 1)[:, None, None], np.float32)


def stretched(columns: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Interpolate columns [any number, mels] to ``count`` of them, float32 [count, mels]."""
    places = (np.arange(count) + 0.5) / count * len(columns) - 0.5
    places = np.clip(places, 0, len(columns) - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, len(columns) - 1)
    share = (places - before)[:, np.newaxis]
    return np.asarray(columns[before] * (1 - share) + columns[after] * share, np.float32)
