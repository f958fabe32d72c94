"""Speech synthesis on the device: words to frames, frames through a model to columns and sound."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from device_runner.errors import BadInputError, BadModelError
from device_runner.front_ends import spelled_words as read_spelling
from device_runner.front_ends.mel_columns import Columns
from device_runner.front_ends.spelling import Spelling, describe
from device_runner.stream import Stream
from device_runner.synthesis import LONGEST_S, PAUSE_S, Voice
from tests.conftest import KEPT_STEP_MODELS

WORDS = ("zero", "one", "two")
COLUMNS = Columns()


def test_a_text_is_of_known_words_and_of_digits():
    spelling = Spelling(WORDS)
    assert spelling.read("Two, 01  zero") == ["two", "zero", "one", "zero"]
    for text, told in (("one three", "'three' cannot be said"), ("19", "'19'"), (" ", "nothing")):
        with pytest.raises(BadInputError, match=re.escape(told)):
            spelling.read(text)


def test_frames_spell_and_then_tell_how_far_the_word_is():
    spelling = Spelling(WORDS)
    letters = spelling.letters("two")
    assert letters.shape == (3, len(spelling.channels))
    read = "".join(spelling.alphabet[row.argmax()] for row in letters)
    assert read == "two"
    assert (letters.sum(1) == 1).all()
    speaking = spelling.speaking(4, 0.04)
    np.testing.assert_allclose(speaking[:, -2], [0.125, 0.375, 0.625, 0.875])
    assert (speaking[:, -3] == 1).all()
    np.testing.assert_allclose(speaking[:, -1], 0.04)
    assert not speaking[:, :-3].any()


def test_a_description_is_checked():
    told = describe(WORDS, COLUMNS.describe())
    assert read_spelling(told) == Spelling(WORDS)
    assert read_spelling({"kind": "log-mel"}) is None
    assert Columns.read(told["sound"]) == COLUMNS
    for words in ([], ["one", 2], "one", ["o ne"], None):
        with pytest.raises(BadModelError, match="export the model again"):
            read_spelling({**told, "words": words})
    for damage in ({"mels": 0}, {"hop": 1.5}, {"window": 1 << 20}, {"highest_hz": 5000}, {"x": 1}):
        with pytest.raises(BadModelError, match="export the model again"):
            Columns.read({**COLUMNS.describe(), **damage})
    with pytest.raises(BadModelError, match="export the model again"):
        Columns.read(None)


class Steps:
    """In place of a stream: says how many columns a word takes, and gives what it was told."""

    def __init__(self, duration: float, front_end: object) -> None:
        kept = Stream(KEPT_STEP_MODELS / "gru-float32.tflite").model
        labels = tuple(f"value {number}" for number in range(COLUMNS.mels + 1))
        contract = replace(kept.contract, front_end=front_end)
        self.model = replace(kept, contract=contract, labels=labels)
        self.duration = duration
        self.resets = 0
        self.seen: list[np.ndarray] = []

    def reset(self) -> None:
        self.resets += 1

    def step(self, frame: np.ndarray) -> np.ndarray:
        self.seen.append(frame)
        return np.append(np.full(COLUMNS.mels, -frame[-2]), self.duration)


def test_a_word_takes_as_long_as_the_model_says():
    steps = Steps(30, describe(WORDS, COLUMNS.describe()))
    voice = Voice(steps)
    columns = list(voice.word("two"))
    assert len(columns) == 30
    assert len(steps.seen) == 3 + 30
    np.testing.assert_allclose(columns[0], -0.5 / 30, rtol=1e-5)
    assert len(list(voice.word("two", rate=2))) == 15
    steps.duration = 1e9
    assert len(list(voice.word("two"))) == LONGEST_S * 100
    for rate in (0, -1, float("nan")):
        with pytest.raises(BadInputError, match="above 0"):
            next(voice.word("two", rate))


def test_a_text_has_pauses_and_each_word_begins_anew():
    steps = Steps(20, describe(WORDS, COLUMNS.describe()))
    columns = np.array(list(Voice(steps).text("one 2")))
    pause = round(100 * PAUSE_S)
    assert columns.shape == (20 + pause + 20, COLUMNS.mels)
    assert (columns[20 : 20 + pause] == COLUMNS.floor_db).all()
    assert steps.resets == 2


def test_another_model_does_not_speak():
    with pytest.raises(BadInputError, match="does not speak"):
        Voice(Stream(KEPT_STEP_MODELS / "gru-float32.tflite"))
    fewer = describe(WORDS, replace(COLUMNS, mels=30).describe())
    with pytest.raises(BadModelError, match="gives 41 values, but"):
        Voice(Steps(20, fewer))


def test_sound_comes_back_from_its_columns():
    """The pitch of a tone, and where it begins and ends."""
    pytest.importorskip("librosa", reason="librosa is not installed; run 'make test-synthesis'")
    time = np.arange(3200) / COLUMNS.sample_rate
    tone = np.sin(2 * np.pi * 700 * time) * (np.abs(time - 0.2) < 0.1)
    columns = COLUMNS.analyse(5000 * tone)
    assert columns.dtype == np.float32
    assert columns.shape == (41, COLUMNS.mels)
    assert columns.min() == COLUMNS.floor_db
    assert abs(columns.max()) < 1e-3
    sound = COLUMNS.synthesize(columns)
    assert np.abs(sound).max() == pytest.approx(0.9, rel=1e-3)
    spectrum = np.abs(np.fft.rfft(sound))
    peak = np.fft.rfftfreq(len(sound), 1 / COLUMNS.sample_rate)[spectrum.argmax()]
    assert peak == pytest.approx(700, abs=60)
    loud = np.flatnonzero(np.abs(sound) > 0.2)
    assert (loud[-1] - loud[0]) / COLUMNS.sample_rate == pytest.approx(0.2, abs=0.04)
