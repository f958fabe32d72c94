"""Speech to text: strings of digits, their loss and their word error rate."""

from __future__ import annotations

import wave

import numpy as np
import pytest
import tensorflow as tf

from models.errors import ModelsError
from models.losses import loss_for
from models.metrics import WORD_ERROR_RATE, best_path, edits, usual_metric
from models.tasks import digit_strings
from models.tasks.digit_strings import FRONT_END, LABELS, LONGEST, TRAINING_S, joined
from models.tasks.sequence_set import SequenceSet, TargetKind
from tests.checks.tasks import check_task
from tests.models.test_digits import folder  # noqa: F401


@pytest.fixture(scope="module")
def task(folder):  # noqa: F811
    return digit_strings.load_folder(folder, "lucas", {"training": 12, "validation": 4, "test": 6})


def test_the_task_is_sound(task):
    check_task(task)
    assert task.train.kind is TargetKind.TRANSCRIPT
    assert task.output_meaning == "transcript"
    assert usual_metric(task.test) is WORD_ERROR_RATE
    assert {len(one) for one in task.test.transcripts} <= set(range(1, LONGEST + 1))
    assert task.channels[-1] == f"difference of mel {FRONT_END.mels}"
    seconds = task.train.lengths * task.frame_period_s
    assert TRAINING_S[0] * 0.5 < seconds.min() < 2.5 < seconds.max() < TRAINING_S[1] * 1.5
    assert task.labels == LABELS
    assert 1 <= min(map(min, task.train.transcripts)) <= max(map(max, task.train.transcripts)) < 11
    assert set(task.test.groups) == {2}
    assert not set(task.train.groups) & set(task.test.groups)
    chosen = task.train.select(np.array([3, 1]))
    np.testing.assert_array_equal(chosen.transcripts[0], task.train.transcripts[3])


def test_the_same_digits_in_the_same_order_are_in_the_sound():
    sounds = [np.full(100, 1.0), np.full(200, 2.0)]
    whole, ends = joined(sounds, np.random.default_rng(1))
    heard = whole[whole != 0]
    assert heard.tolist() == [1.0] * 100 + [2.0] * 200
    assert whole[0] == whole[-1] == 0
    assert [whole[end - 1] for end in ends] == [1.0, 2.0]
    assert [whole[end] for end in ends] == [0, 0]


def test_a_word_ends_where_its_speech_does():
    """Silence and breath at the end of a recording are none of it."""
    word = 1000 * np.sin(np.arange(3200))
    breath = 10 * np.sin(np.arange(4800))
    sounds = [np.concatenate([word, breath]), word]
    assert digit_strings.end_of_speech(sounds[0]) == digit_strings.end_of_speech(word) == 3200
    whole, ends = joined(sounds, np.random.default_rng(1))
    loud = np.flatnonzero(np.abs(whole) > 100)
    gap = np.flatnonzero(np.diff(loud) > 1000)[0]
    assert ends.tolist() == pytest.approx([loud[gap] + 1, loud[-1] + 1], abs=2)


def test_a_frame_is_there_when_its_last_sample_is():
    sound = np.ones(digit_strings.complete_at(3), np.int16)
    assert len(list(FRONT_END.frames([sound]))) == 4
    assert len(list(FRONT_END.frames([sound[:-1]]))) == 3


def transcripts(*said):
    return SequenceSet(
        [np.zeros((6, 2), np.float32) for _ in said],
        np.zeros(len(said), np.int64),
        np.zeros(len(said), np.int64),
        transcripts=[np.array(one, np.int64) for one in said],
    )


def logits_of(*paths):
    """Certain logits [sequences, 6, 4] of paths of labels."""
    return 20 * np.eye(4, dtype=np.float32)[np.array(paths)]


def test_word_error_rate_counts_edits():
    data = transcripts([1, 2, 3], [1, 1])
    right = logits_of([1, 1, 2, 0, 3, 3], [1, 0, 1, 1, 0, 0])
    assert WORD_ERROR_RATE.compute(right, data) == 0
    wrong = logits_of([1, 1, 0, 0, 3, 3], [1, 1, 1, 0, 2, 0])
    # One word left out, one wrong.
    assert WORD_ERROR_RATE.compute(wrong, data) == pytest.approx(2 / 5)
    assert best_path(right[0]) == [1, 2, 3]
    assert edits([], [1, 2]) == 2
    assert edits([1, 5, 2], [1, 2]) == 1
    assert edits([2, 1], [1, 2]) == 2


def test_loss_is_what_all_ways_to_say_it_cost():
    """Against the sum over every path, in nats per word."""
    from tests.device_runner.test_transcription import likeliest_transcript

    logits = np.random.default_rng(3).normal(size=(1, 5, 3)).astype(np.float32)
    sums = likeliest_transcript(logits[0].astype(np.float64))
    loss = loss_for(TargetKind.TRANSCRIPT)
    given = loss(tf.constant(logits), tf.constant([[1, 2, -1]], tf.int64), tf.constant([5]))
    assert float(given) == pytest.approx(-np.log(sums[1, 2]) / 2, rel=1e-4)
    # What comes after the end does not count.
    longer = np.concatenate([logits, np.ones((1, 3, 3), np.float32)], 1)
    again = loss(tf.constant(longer), tf.constant([[1, 2, -1]], tf.int64), tf.constant([5]))
    assert float(again) == pytest.approx(float(given), rel=1e-5)


def test_another_persons_digits_make_strings(tmp_path):
    for number in range(10):
        write_wav(tmp_path / f"{number}.wav", np.full(4000, 100 + number, np.int16))
    digits = digit_strings.digits_of_folder(tmp_path)
    assert [one.digit for one in digits] == list(range(10))
    assert digits[3].sound[0] == 103
    made = digit_strings.strings_of({"someone": digits}, "test", 3)
    assert all(len(one.said) == len(one.ends) <= LONGEST for one in made)
    assert all(one.ends[-1] < digit_strings.complete_at(len(one.frames)) for one in made)
    (tmp_path / "7.wav").unlink()
    with pytest.raises(ModelsError, match=r"7\.wav cannot be read"):
        digit_strings.digits_of_folder(tmp_path)


def write_wav(path, samples):
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
