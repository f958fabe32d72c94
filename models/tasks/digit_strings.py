"""Speech to text: which digits a person says one after another, one to seven of them.

The recordings of :mod:`models.tasks.digits`, joined: a string is said by one speaker, with pauses
of PAUSE_S between the digits and noise all over. Recordings of test strings are those of the test
speaker alone. So this is connected speech of real voices, but not speech that was spoken as a
whole: no digit runs into the next one.

Training strings are as long as is drawn of TRAINING_S, however many digits that takes: short ones
teach a net what a digit is, from which it goes on to long ones (with long ones alone it may give
the blank for ever). Each is said at a speed of its own (higher and lower with it, as other people's
voices are), heard through a filter and in noise of a colour of its own: four speakers are few.

The network hears mel energies of sound of 8 kHz, less their running mean, and their differences. It
gives logits of ten digits and of the blank after each frame, and is trained by connectionist
temporal classification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device_runner.front_ends.mel import Mel
from models.tasks import digits
from models.tasks.digits import RECORDED_RATE, SPEAKERS, find_recordings
from models.tasks.sequence_set import SequenceSet
from models.tasks.sound_folder import read_wav
from models.tasks.task import Task

LABELS = ("(blank)", *digits.LABELS)
LONGEST = 7
PAUSE_S = (0.05, 0.5)
# Before the first digit, and after the last one: what is said late is heard yet.
EDGE_S = (0.3, 0.6)
STRINGS = {"training": 3000, "validation": 200, "test": 300}
# Of a training string, about.
TRAINING_S = (1.2, 4.5)
# A frame of 32 ms every 30 ms; a mean of a second and a half, and what changes in 60 ms.
FRONT_END = Mel(
    RECORDED_RATE, window_samples=256, hop_samples=240, mels=31, mean_frames=50, delta_frames=2
)
# A word ends with the last block of this length that is at most so much fainter than its loudest.
BLOCK_S = 0.01
END_DB = 26.0
SEED = 23


@lru_cache(maxsize=1)
def _load_once(folder: Path, speaker: str) -> Task:
    return load_folder(folder, speaker)


def _load(speaker: str) -> Task:
    """Read the task whose test strings one speaker says.

    Raises:
        MissingDataError: EDGESTEP_SPOKEN_DIGITS is not set, or names no such folder.
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    return _load_once(digits.data_folder(), speaker)


load_george = partial(_load, "george")
load_jackson = partial(_load, "jackson")
load_lucas = partial(_load, "lucas")
load_nicolas = partial(_load, "nicolas")
load_theo = partial(_load, "theo")
load_yweweler = partial(_load, "yweweler")


def data_facts() -> dict[str, Any]:
    """Tell what the tasks depend on: the recordings, the front end and how strings are made."""
    return {
        **digits.data_facts(),
        "front_end": FRONT_END.describe(),
        "strings": STRINGS,
        "seconds": TRAINING_S,
    }


def load_folder(folder: Path, speaker: str, strings: dict[str, int] | None = None) -> Task:
    """Make the task of one test speaker from the data set in ``folder``.

    Args:
        strings: how many of each part; STRINGS if None.

    Raises:
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    counts = strings or STRINGS
    sets = {part: _strings(folder, part, speaker, counts[part]) for part in STRINGS}
    return digits.task_of_sound(
        f"digit-strings-{speaker}", sets, LABELS, "its recordings joined", FRONT_END
    )


class Digit(NamedTuple):
    """A recorded digit: which, and its sound at RECORDED_RATE, float64 [samples]."""

    digit: int
    sound: NDArray[np.float64]


@dataclass(frozen=True)
class Spoken:
    """A string of digits as it is heard.

    Attributes:
        speaker: who says it.
        frames: float32 [steps, channels of FRONT_END].
        said: class indices in order, int64 [digits].
        ends: at which sample each digit ends (see :func:`end_of_speech`), int64 [digits].
    """

    speaker: str
    frames: NDArray[np.float32]
    said: NDArray[np.int64]
    ends: NDArray[np.int64]


def spoken_strings(folder: Path, part: str, speaker: str, count: int | None = None) -> list[Spoken]:
    """Make the strings of one part of the task of a test speaker.

    Args:
        part: "training", "validation" or "test".
        count: how many; as in STRINGS if None.

    Raises:
        ModelsError: a recording is damaged, or a speaker or a digit is missing.
    """
    speakers = digits.speaker_parts(speaker)[part]
    said: dict[str, list[Digit]] = {one: [] for one in sorted(speakers)}
    for one in find_recordings(folder):
        if one.speaker in said:
            said[one.speaker].append(Digit(one.digit, digits.read_recording(folder, one)))
    return strings_of(said, part, STRINGS[part] if count is None else count)


def strings_of(
    said: Mapping[str, Sequence[Digit]], part: str, count: int, longest: int = LONGEST
) -> list[Spoken]:
    """Make strings of recorded digits.

    Args:
        said: the digits that each person said.
        part: "training" with its lengths, noise, filters, gains and speeds, or "validation" or
            "test".
        count: how many strings.
        longest: digits of a validation or test string, at most.
    """
    chance = np.random.default_rng([SEED, list(STRINGS).index(part)])
    made = []
    for _ in range(count):
        person = list(said)[chance.integers(len(said))]
        recorded = said[person]
        if part == "training":
            chosen = _filling(recorded, chance)
            speed = digits.drawn_speed(chance)
        else:
            length = int(chance.integers(1, longest + 1))
            chosen = [recorded[number] for number in chance.integers(0, len(recorded), length)]
            speed = 1.0
        at_speed = [digits.at_speed(one.sound, speed) for one in chosen]
        sound, ends = joined(at_speed, chance)
        heard = digits.as_samples(digits.as_heard(sound, chance, part == "training"))
        frames = np.array(list(FRONT_END.frames([heard])))
        wanted = np.array([1 + one.digit for one in chosen], np.int64)
        made.append(Spoken(person, frames, wanted, ends))
    return made


def _filling(recorded: Sequence[Digit], chance: np.random.Generator) -> list[Digit]:
    """Draw as many digits as take a time of TRAINING_S with pauses and edges."""
    chosen: list[Digit] = []
    left = chance.uniform(*TRAINING_S) - 2 * np.mean(EDGE_S)
    while left > 0 or not chosen:
        chosen.append(recorded[chance.integers(len(recorded))])
        left -= len(chosen[-1].sound) / RECORDED_RATE + np.mean(PAUSE_S)
    return chosen


def complete_at(frame: int) -> int:
    """Tell after which sample of a sound the frame of this number, from 0, is there."""
    return FRONT_END.window_samples + frame * FRONT_END.hop_samples


def end_of_speech(sound: NDArray[np.float64]) -> int:
    """Find where a recording's speech ends: recordings go on in silence or breath, as they please.

    Args:
        sound: a word at RECORDED_RATE.

    Returns:
        The number of samples up to the end of the last BLOCK_S whose root mean square is within
        END_DB of the loudest one's.
    """
    block = int(BLOCK_S * RECORDED_RATE)
    starts = np.arange(0, len(sound), block)
    sizes = np.diff(np.append(starts, len(sound)))
    power = np.add.reduceat(np.square(sound), starts) / sizes
    last = np.flatnonzero(power >= power.max() * 10 ** (-END_DB / 10))[-1]
    return int(starts[last] + sizes[last])


def digits_of_folder(folder: Path) -> list[Digit]:
    """Read one person's ten digits, ``0.wav`` to ``9.wav``, as Debian's asterisk-core-sounds-en-wav
    has them in ``/usr/share/asterisk/sounds/en_US_f_Allison/digits``.

    Raises:
        ModelsError: one is missing, or is not mono of 16 bits at 8 kHz.
    """
    paths = [folder / f"{number}.wav" for number in range(len(digits.LABELS))]
    return [Digit(number, read_wav(path, RECORDED_RATE)) for number, path in enumerate(paths)]


def _strings(folder: Path, part: str, speaker: str, count: int) -> SequenceSet:
    made = spoken_strings(folder, part, speaker, count)
    return SequenceSet(
        [one.frames for one in made],
        np.zeros(count, np.int64),
        np.array([SPEAKERS.index(one.speaker) for one in made], np.int64),
        transcripts=[one.said for one in made],
    )


def joined(
    sounds: Sequence[NDArray[np.float64]], chance: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Join recordings with pauses, at RECORDED_RATE; silence before and after.

    Returns:
        The sound, and at which sample the speech of each recording ends.
    """

    def pause(limits: tuple[float, float]) -> NDArray[np.float64]:
        return np.zeros(int(chance.uniform(*limits) * RECORDED_RATE))

    parts, ends = [pause(EDGE_S)], []
    for sound in sounds:
        ends.append(sum(map(len, parts)) + end_of_speech(sound))
        parts.append(sound)
        parts.append(pause(PAUSE_S))
    return np.concatenate([*parts, pause(EDGE_S)]), np.array(ends, np.int64)
