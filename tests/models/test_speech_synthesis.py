"""The task of speech synthesis: what is trained on, and what it is measured by."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.front_ends import spelled_words
from device_runner.front_ends.mel_columns import Columns
from models.errors import ModelsError
from models.tasks.digits import LABELS, RECORDED_RATE, SPEAKERS, Recording
from models.tasks.speech_synthesis import (
    COLUMNS,
    SPEAKER,
    error_db,
    load_folder,
    mean_trajectories,
    part_of,
    stretched,
)
from tests.checks.tasks import check_task
from tests.models.test_keywords import write_wav

# Of test, validation and training data.
INDICES = (0, 4, 5, 10, 11, 12)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A tone of its own for each digit, with silence around it; others said it once."""
    pytest.importorskip("librosa", reason="librosa is not installed; run 'make test-synthesis'")
    base = tmp_path_factory.mktemp("voice")
    chance = np.random.default_rng(4)
    for speaker in SPEAKERS:
        for digit in range(10):
            for index in INDICES if speaker == SPEAKER else (0,):
                time = np.arange(int((0.2 + 0.01 * index) * RECORDED_RATE)) / RECORDED_RATE
                tone = 6000 * np.sin(2 * np.pi * (300 + 150 * digit) * time)
                silence = np.zeros(800)
                sound = np.concatenate([silence, tone, silence])
                sound += chance.standard_normal(len(sound))
                path = base / "recordings" / f"{digit}_{speaker}_{index}.wav"
                write_wav(path, sound, RECORDED_RATE)
    return load_folder(base)


def test_the_task_is_sound(task):
    check_task(task)
    assert [len(side) for side in (task.train, task.validation, task.test)] == [30, 10, 20]
    assert task.gives_values
    assert len(task.labels) == COLUMNS.mels + 1
    spelling = spelled_words(task.front_end)
    assert spelling.words == LABELS
    assert spelling.channels == task.channels
    assert Columns.read(task.front_end["sound"]) == COLUMNS


def test_a_sequence_spells_and_then_speaks(task):
    number = int(np.flatnonzero(task.train.labels == 3)[0])
    frames, values = task.train.sequences[number], task.train.values[number]
    reading = len("three")
    assert (frames[:reading, -3] == 0).all()
    assert (frames[reading:, -3] == 1).all()
    # The silence around the tone is cut off.
    assert len(frames) - reading == pytest.approx(30, abs=4)
    assert (values[:reading, :-1] == COLUMNS.floor_db).all()
    duration = (len(frames) - reading) * COLUMNS.period_s
    assert (values[:, -1] == len(frames) - reading).all()
    np.testing.assert_allclose(frames[reading:, -1], duration, rtol=1e-5)


def test_nobody_hears_what_is_given_while_it_reads(task):
    wrong = task.test.targets.copy()
    wrong[..., -1] += 9
    wrong[:, :2] += 50
    assert error_db(wrong, task.test) == 0
    assert error_db(task.test.targets + 2, task.test) == pytest.approx(2, rel=1e-5)


def test_a_mean_trajectory_is_better_than_a_mean(task):
    found = task.baselines(task)
    assert found["mean trajectory of each digit"] < found["training mean"]
    assert mean_trajectories(task.train).shape == (10, 50, COLUMNS.mels)


def test_columns_are_stretched_evenly():
    line = np.arange(10.0)[:, None]
    np.testing.assert_allclose(stretched(line, 10), line)
    np.testing.assert_allclose(stretched(line, 5)[:, 0], [0.5, 2.5, 4.5, 6.5, 8.5])


def test_recordings_have_one_part_each():
    parts = [part_of(Recording(SPEAKER, index, 1, "")) for index in range(50)]
    assert [parts.count(part) for part in ("test", "validation", "training")] == [5, 5, 40]


def test_a_missing_digit_is_named(tmp_path):
    with pytest.raises(ModelsError, match="has no recording of 'zero'"):
        load_folder(tmp_path)
