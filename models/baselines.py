"""What a task is worth without a recurrent network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from models.tasks.sequence_set import SequenceSet, TargetKind
from models.tasks.task import Task

EPOCHS = 300


@dataclass(frozen=True)
class Baseline:
    """What can be had without a recurrent network: the task's metric on the test data, and by
    group where the task has groups and the baseline decides by sequence."""

    name: str
    value: float
    by_group: dict[str, float] = field(default_factory=dict)


def task_baselines(task: Task) -> list[Baseline]:
    """Compute the task's own baselines; else, for labels of sequences, the most frequent class and
    a linear classifier; for labels of steps, the most frequent one; for values, their mean over the
    training data; for transcripts, nothing heard."""
    if task.baselines:
        return [Baseline(name, value) for name, value in task.baselines(task).items()]
    if task.train.kind is TargetKind.VALUES:
        mean, _ = task.value_spread
        constant = np.broadcast_to(mean, task.test.targets.shape)
        return [Baseline("training mean", task.score.compute(constant, task.test))]
    if task.train.kind is TargetKind.STEP_LABELS:
        wanted = np.concatenate(task.train.step_labels or [])
        share = np.bincount(wanted[wanted >= 0], minlength=len(task.labels))
        # The logarithm of its share is the best logit for a class that nothing is known of.
        logits = np.log(np.maximum(share, 0.5) / share.sum()).astype(np.float32)
        constant = np.broadcast_to(logits, (*task.test.targets.shape, len(logits)))
        return [Baseline("most frequent label", task.score.compute(constant, task.test))]
    if task.train.kind is TargetKind.TRANSCRIPT:
        blank = np.zeros((*task.test.padded.shape[:2], len(task.labels)), np.float32)
        return [Baseline("nothing heard", task.score.compute(blank, task.test))]
    most = np.full(len(task.test), np.bincount(task.train.labels).argmax())
    return [
        _decided("majority class", most, task),
        _decided("linear on means and deviations", linear_decisions(task), task),
    ]


def _decided(name: str, decided: NDArray[Any], task: Task) -> Baseline:
    right = decided == task.test.labels
    groups = np.unique(task.test.groups) if task.group_name else ()
    by_group = {str(group): float(right[task.test.groups == group].mean()) for group in groups}
    return Baseline(name, float(right.mean()), by_group)


def linear_decisions(task: Task, seed: int = 1) -> NDArray[Any]:
    """Give the test decisions of a linear classifier on each channel's mean and standard deviation
    over the sequence (logistic regression, stopped on validation loss), int64 [sequences]."""
    keras.utils.set_random_seed(seed)
    training = _features(task.train)
    mean, deviation = training.mean(0), training.std(0) + 1e-9

    def normalized(data: SequenceSet) -> NDArray[Any]:
        return np.asarray((_features(data) - mean) / deviation)

    classifier = keras.Sequential([keras.layers.Dense(len(task.labels))])
    classifier.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.fit(
        normalized(task.train),
        task.train.labels,
        validation_data=(normalized(task.validation), task.validation.labels),
        epochs=EPOCHS,
        batch_size=256,
        verbose=0,
        callbacks=[keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)],
    )
    return np.asarray(classifier.predict(normalized(task.test), verbose=0).argmax(-1))


def _features(data: SequenceSet) -> NDArray[Any]:
    return np.stack([np.concatenate([s.mean(0), s.std(0)]) for s in data.sequences])
