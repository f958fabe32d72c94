"""What a task is: real sequences and what is wanted of them, for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.metrics import Metric, usual_metric


@dataclass(frozen=True)
class SequenceSet:
    """Sequences of different lengths with one label each, or with a label or values wanted at
    every step.

    Attributes:
        sequences: each [steps, channels] float32, in the task's units; or, where the task has a
            vocabulary, [steps, 1] int32 token ids (0 is padding).
        labels: class index of each sequence, int64 [n]; zeros where something else is wanted.
        groups: who or what each sequence was recorded from (a subject, a speaker), int64 [n].
        values: what a regression wants of each step, each [steps, outputs] float32.
        step_labels: class index wanted at each step, each [steps] int64; -1 where none is.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray
    groups: np.ndarray
    values: list[np.ndarray] | None = None
    step_labels: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def select(self, indices: np.ndarray) -> SequenceSet:
        """The sequences at these indices, in this order."""
        return SequenceSet(
            [self.sequences[i] for i in indices],
            self.labels[indices],
            self.groups[indices],
            None if self.values is None else [self.values[i] for i in indices],
            None if self.step_labels is None else [self.step_labels[i] for i in indices],
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of steps of each sequence, int64 [n]."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    @cached_property
    def padded(self) -> np.ndarray:
        """All sequences in one array [n, longest, channels] of their own dtype, zeros after the
        end."""
        return _padded(self.sequences)

    @cached_property
    def targets(self) -> np.ndarray:
        """What a network is fitted to: the labels, int64 [n]; the values in one array
        [n, longest, outputs], float32; or the labels of the steps, int64 [n, longest], -1 after
        the end."""
        if self.values is not None:
            return _padded(self.values).astype(np.float32)
        if self.step_labels is not None:
            return _padded(self.step_labels, -1).astype(np.int64)
        return self.labels


def _padded(sequences: list[np.ndarray], filler: int = 0) -> np.ndarray:
    longest = max(len(sequence) for sequence in sequences)
    shape = (len(sequences), longest, *sequences[0].shape[1:])
    padded = np.full(shape, filler, sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


@dataclass(frozen=True)
class Task:
    """What a network is to do. A classifier gives class scores after every step (a causal
    per-step head); a sequence counts as recognized when the scores after its last step are highest
    at its label, or each step of its own where the steps have labels. A regression gives values at
    every step.

    Attributes:
        labels: what each output stands for: the classes, or the values' names.
        frame_period_s: time between two frames in seconds; ``frame_period_source`` says where it
            is stated.
        channels, units: what the inputs are and what they are measured in.
        group_name: what ``SequenceSet.groups`` numbers ("subject"), or "" where it is unknown.
        source: the data set, its origin and licence.
        vocabulary: number of token ids where the inputs are such, else 0.
        front_end: how raw input becomes frames or ids, ready for JSON; kept in a model's contract.
        metric: what it is judged by; None stands for :func:`models.metrics.usual_metric`.
        baselines: what can be had without a network, each with its value of the metric on the
            test data; None stands for those of :mod:`models.baselines`.
    """

    name: str
    train: SequenceSet
    validation: SequenceSet
    test: SequenceSet
    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: str
    frame_period_s: float
    frame_period_source: str
    group_name: str
    source: str
    vocabulary: int = 0
    front_end: dict[str, Any] | None = None
    metric: Metric | None = None
    baselines: Baselines | None = None

    @property
    def score(self) -> Metric:
        """The metric, the usual one where the task names none."""
        return self.metric or usual_metric(self.test)

    @property
    def gives_values(self) -> bool:
        """Whether the outputs are values; else they are logits."""
        return self.train.values is not None

    @cached_property
    def normalization(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over the training data, float32; 0 and 1 of
        token ids, which are no measurements."""
        if self.vocabulary:
            return np.zeros(1, np.float32), np.ones(1, np.float32)
        frames = np.concatenate(self.train.sequences)
        return frames.mean(0).astype(np.float32), frames.std(0).astype(np.float32)

    @cached_property
    def value_spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each wanted value over the training data, float32."""
        values = np.concatenate(self.train.values or [])
        return values.mean(0).astype(np.float32), values.std(0).astype(np.float32)


TaskLoader = Callable[[], Task]

Baselines = Callable[[Task], dict[str, float]]


def split_by_label(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a stratified split: (the rest, ``share`` of each class), in random order."""
    generator = np.random.default_rng(seed)
    kept, taken = [], []
    for label in np.unique(labels):
        indices = generator.permutation(np.flatnonzero(labels == label))
        count = round(share * len(indices))
        taken.append(indices[:count])
        kept.append(indices[count:])
    return generator.permutation(np.concatenate(kept)), np.concatenate(taken)
