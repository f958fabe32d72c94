"""The first look at a task's data: each kind of trouble is found, and sound data has none."""

from dataclasses import replace

import numpy as np
import pytest

from models.first_look import first_look
from models.tasks import load_task
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task


def part(seed, groups, count=10, steps=30):
    """Sequences of two classes; ``count`` of each group."""
    chance = np.random.default_rng(seed)
    frames = [chance.normal(size=(steps, 3)).astype(np.float32) for _ in range(count * len(groups))]
    labels = np.arange(len(frames)) % 2
    return SequenceSet(frames, labels, np.repeat(groups, count))


@pytest.fixture
def task():
    return Task(
        name="made",
        train=part(1, range(10)),
        validation=part(2, range(10, 15)),
        test=part(3, range(15, 20)),
        labels=("a", "b"),
        channels=("x", "y", "z"),
        units="none",
        frame_period_s=0.1,
        frame_period_source="made",
        group_name="subject",
        source="made",
    )


def texts(task, grave=None):
    found = first_look(task)
    return [one.text for one in found if grave is None or one.grave is grave]


def with_frames(data, change):
    return SequenceSet([change(s.copy()) for s in data.sequences], data.labels, data.groups)


def test_sound_data_has_no_findings(task):
    assert first_look(task) == []


def test_a_group_on_two_sides(task):
    found = texts(replace(task, test=part(3, range(8, 13))), grave=True)
    assert found[0].startswith("2 subject(s) are in training and in test data")
    assert found[1].startswith("3 subject(s) are in validation and in test data")


def test_few_or_unknown_groups(task):
    assert texts(replace(task, test=part(3, (90, 91), 25))) == [
        "the test data is of 2 subject(s); its figure says little about others"
    ]
    (found,) = texts(replace(task, group_name=""))
    assert found.startswith("nothing tells of whom")


def test_a_class_for_each_group(task):
    train = replace(task.train, labels=(task.train.groups % 2).astype(np.int64))
    (found,) = texts(replace(task, train=train), grave=True)
    assert found.startswith("each subject shows one class only")


def test_equal_stretches_on_two_sides(task):
    task.test.sequences[0][3:20] = task.train.sequences[5][10:27]
    (found,) = texts(task, grave=True)
    assert found.startswith("10 of 1150 stretches of 8 steps in the test data are in the training")


def test_still_stretches_are_no_leak(task):
    for data in (task.train, task.test):
        data.sequences[0][:] = 0.0
    assert texts(task, grave=True) == []


def test_missing_and_rare_classes(task):
    none = np.zeros_like(task.test.labels)
    assert texts(replace(task, test=replace(task.test, labels=none))) == [
        "the test data has no class b"
    ]
    labels = np.zeros_like(task.train.labels)
    found = texts(replace(task, train=replace(task.train, labels=labels)))
    assert found[0] == "the training data has no class b"
    assert any(text.startswith("100% of the training data is of the class a") for text in found)
    labels[0] = 1
    found = texts(replace(task, train=replace(task.train, labels=labels)))
    assert "less than 2% of the training data is of the class b" in found


def test_few_sequences(task):
    (found,) = texts(replace(task, test=part(3, range(15, 20), 2)))
    assert found == "the test data has 10 sequences, so one of them moves its score by 10.0 points"


def test_channels(task):
    def change(frames):
        frames[:, 0] = 4.0
        frames[:, 2] = -2 * frames[:, 1] + 1
        return frames

    changed = [with_frames(data, change) for data in (task.train, task.validation, task.test)]
    found = texts(replace(task, train=changed[0], validation=changed[1], test=changed[2]))
    assert found == [
        "the channel 'x' never changes in the training data; leave it out",
        "the channels 'y' and 'z' say the same; leave one out",
    ]


def test_a_channel_that_counts(task):
    def change(frames):
        frames[:, 1] = np.arange(len(frames))
        return frames

    (found,) = texts(replace(task, train=with_frames(task.train, change)), grave=True)
    assert found.startswith("the channel 'y' rises evenly")


def test_values_far_out_and_means_that_move(task):
    task.train.sequences[0][3, 1] = 5000.0
    assert any("'y' reaches" in text for text in texts(task))
    moved = with_frames(task.test, lambda frames: frames + np.float32([0, 0, 9]))
    found = texts(replace(task, test=moved))
    assert any("'z' in the test data is 9" in text for text in found)


def test_lengths(task):
    lengths = [10 if label else 20 for label in task.train.labels]
    lengths[0] = 400
    chance = np.random.default_rng(9)
    frames = [chance.normal(size=(length, 3)).astype(np.float32) for length in lengths]
    found = texts(replace(task, train=SequenceSet(frames, task.train.labels, task.train.groups)))
    assert any(text.startswith("the longest training sequence has 400 steps") for text in found)
    assert any("length of a sequence alone tells the class in 100%" in text for text in found)


def test_a_task_of_ours():
    """Japanese Vowels: who speaks is the class, and nothing tells of whom a sequence is."""
    found = first_look(load_task("japanese-vowels"))
    assert not any(one.grave for one in found)
    assert found[0].text.startswith("nothing tells of whom")
