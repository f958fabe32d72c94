"""What every task must keep; run for all that are listed in models.tasks.TASKS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.layers import Normalization
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task


def check_task(task: Task, with_shared_texts: bool = False) -> None:
    """Hold a task's data against what training, calibration and the contract take for granted.

    Args:
        with_shared_texts: whether equal sequences are known to stand on two sides.
    """
    _says_what_it_is(task)
    assert _has_sequence_on_two_sides(task) == with_shared_texts
    _has_valid_sequences_and_targets(task)
    if not task.vocabulary:
        _is_normalized_by_its_training_data(task)


def contents(data: SequenceSet) -> set[bytes]:
    """Return what sequences hold, for comparison."""
    return {sequence.tobytes() for sequence in data.sequences}


def _sides(task: Task) -> tuple[SequenceSet, SequenceSet, SequenceSet]:
    return task.train, task.validation, task.test


def _says_what_it_is(task: Task) -> None:
    assert task.frame_period_s > 0
    assert task.frame_period_source
    assert task.labels
    assert len(set(task.labels)) == len(task.labels)
    assert all(task.channels)
    assert task.source
    if task.baselines is not None:
        found = task.baselines(task)
        assert found
        assert np.isfinite(list(found.values())).all()


def _has_sequence_on_two_sides(task: Task) -> bool:
    train, validation, test = map(contents, _sides(task))
    return bool(train & validation or train & test or validation & test)


def _has_valid_sequences_and_targets(task: Task) -> None:
    dtype = np.int32 if task.vocabulary else np.float32
    for data in _sides(task):
        assert len(data) == len(data.labels) == len(data.groups) > 0
        assert {s.dtype for s in data.sequences} == {np.dtype(dtype)}
        assert all(s.ndim == 2 and len(s) for s in data.sequences)
        assert all(np.isfinite(s).all() for s in data.sequences)
        if not task.vocabulary:
            assert {s.shape[1] for s in data.sequences} == {len(task.channels)}
        else:
            assert all(0 <= s.min() <= s.max() < task.vocabulary for s in data.sequences)
        if data.values is not None:
            assert [len(v) for v in data.values] == data.lengths.tolist()
            assert all(np.isfinite(v).all() for v in data.values)
        elif data.step_labels is not None:
            assert [len(v) for v in data.step_labels] == data.lengths.tolist()
            assert all(-1 <= v.min() <= v.max() < len(task.labels) for v in data.step_labels)
        else:
            assert 0 <= data.labels.min() <= data.labels.max() < len(task.labels)


def _is_normalized_by_its_training_data(task: Task) -> None:
    """Mean 0 and deviation 1 on the training data; the other sides do not move it."""
    layer = Normalization()
    layer.build((None, None, len(task.channels)))
    layer.adapt(*task.normalization)
    normalized = layer(np.concatenate(task.train.sequences)).numpy().astype(np.float64)
    np.testing.assert_allclose(normalized.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(normalized.std(0), 1, atol=1e-4)

    def shifted(data: SequenceSet) -> SequenceSet:
        return SequenceSet([10 * s + 100 for s in data.sequences], data.labels, data.groups)

    elsewhere = replace(task, validation=shifted(task.validation), test=shifted(task.test))
    for expected, actual in zip(task.normalization, elsewhere.normalization, strict=True):
        np.testing.assert_array_equal(actual, expected)
    moved = replace(task, train=shifted(task.train))
    np.testing.assert_allclose(
        moved.normalization[0], 10 * task.normalization[0] + 100, rtol=1e-3, atol=1e-3
    )
