"""The loader of spoken digits: who trains and who is tested, and what a recording becomes."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.front_ends import sound_front_end
from models.errors import MissingDataError, ModelsError
from models.tasks import TASKS, data_facts, digits, load_task
from models.tasks.digits import FRONT_END, LABELS, RECORDED_RATE, SPEAKERS, frames_of, speaker_parts
from tests.checks.tasks import check_task
from tests.models.test_keywords import write_wav


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two recordings of each digit by each speaker: a tone of its own, in a little noise."""
    base = tmp_path_factory.mktemp("digits")
    chance = np.random.default_rng(4)
    for voice, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            for index in range(2):
                time = np.arange(int((0.2 + 0.02 * digit) * RECORDED_RATE)) / RECORDED_RATE
                tone = np.sin(2 * np.pi * (300 + 150 * digit + 10 * voice + index) * time)
                sound = 6000 * tone + 60 * chance.standard_normal(len(time))
                path = base / "recordings" / f"{digit}_{speaker}_{index}.wav"
                write_wav(path, sound, RECORDED_RATE)
    return base


def test_the_task_is_sound_and_its_speakers_are_apart(folder):
    task = digits.load_folder(folder, "theo")
    check_task(task)
    groups = [set(side.groups.tolist()) for side in (task.train, task.validation, task.test)]
    assert [len(one) for one in groups] == [4, 1, 1]
    assert len(set.union(*groups)) == 6
    assert len(task.test) == 20
    assert len(task.train) == digits.TAKES * 80
    assert task.labels[task.test.labels[0]] in LABELS


def test_each_speaker_is_tested_and_validates_once():
    parts = [speaker_parts(speaker) for speaker in SPEAKERS]
    assert sorted(part["test"][0] for part in parts) == sorted(SPEAKERS)
    assert sorted(part["validation"][0] for part in parts) == sorted(SPEAKERS)
    assert {f"digits-{speaker}" for speaker in SPEAKERS} <= set(TASKS)


def test_a_recording_is_heard_as_on_a_device(folder):
    """Its frames are those of a stream in which another recording came before."""
    chance = np.random.default_rng(1)
    before, sound = 1000 * chance.standard_normal(4000), 1000 * chance.standard_normal(2400)
    frames = frames_of(before, sound, np.random.default_rng(3), in_training=False)
    assert frames.shape == ((2400 + 800) // 160, FRONT_END.channels)
    whole = np.concatenate([before, np.zeros(800), sound, np.zeros(800)])
    whole = digits.as_heard(whole, np.random.default_rng(3), in_training=False)
    front_end = sound_front_end(FRONT_END.describe())
    streamed = list(front_end.frames(np.array_split(np.rint(whole).astype(np.int16), 99)))
    np.testing.assert_array_equal(frames, streamed[-len(frames) :])


def test_training_hears_noise_as_loud_as_drawn():
    sound = 1000 * np.sin(np.arange(8000))
    heard = digits.with_noise(sound, np.random.default_rng(2).standard_normal(8000), 20.0)
    assert np.std(heard - sound) == pytest.approx(np.std(sound) / 10, rel=0.05)


def test_what_is_missing_or_damaged_is_one_line(folder, monkeypatch, tmp_path):
    monkeypatch.delenv(digits.FOLDER_VARIABLE, raising=False)
    with pytest.raises(MissingDataError, match="set EDGESTEP_SPOKEN_DIGITS"):
        load_task("digits-lucas")
    monkeypatch.setenv(digits.FOLDER_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(MissingDataError, match="there is no folder"):
        load_task("digits-lucas")
    (tmp_path / "recordings").mkdir()
    with pytest.raises(ModelsError, match="no recording of 'zero' by george"):
        digits.load_folder(tmp_path, "lucas")
    monkeypatch.setenv(digits.FOLDER_VARIABLE, str(folder))
    facts = data_facts("digits-lucas")
    assert facts == data_facts("digits-theo")
    path = folder / "recordings" / "3_theo_0.wav"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:30])
        assert data_facts("digits-lucas") != facts
        with pytest.raises(ModelsError, match=r"3_theo_0\.wav cannot be read"):
            digits.load_folder(folder, "lucas")
    finally:
        path.write_bytes(kept)
