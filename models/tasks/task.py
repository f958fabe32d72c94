"""What a task is: real sequences with labels, cut into training, validation and test data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class SequenceSet:
    """Sequences of different lengths with one label each, or with wanted values at every step.

    Attributes:
        sequences: each [steps, channels] float32, in the task's units.
        labels: class index of each sequence, int64 [n]; zeros where there are values.
        groups: who or what each sequence was recorded from (a subject, a speaker), int64 [n].
        values: what a regression wants of each step, each [steps, outputs] float32.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray
    groups: np.ndarray
    values: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def select(self, indices: np.ndarray) -> SequenceSet:
        """The sequences at these indices, in this order."""
        return SequenceSet(
            [self.sequences[i] for i in indices],
            self.labels[indices],
            self.groups[indices],
            None if self.values is None else [self.values[i] for i in indices],
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of steps of each sequence, int64 [n]."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    @cached_property
    def padded(self) -> np.ndarray:
        """All sequences in one array [n, longest, channels], zeros after the end."""
        return _padded(self.sequences)

    @cached_property
    def targets(self) -> np.ndarray:
        """What a network is fitted to: the labels, int64 [n], or the values in one array
        [n, longest, outputs], float32."""
        return self.labels if self.values is None else _padded(self.values)


def _padded(sequences: list[np.ndarray]) -> np.ndarray:
    longest = max(len(sequence) for sequence in sequences)
    padded = [np.pad(s, ((0, longest - len(s)), (0, 0))) for s in sequences]
    return np.stack(padded).astype(np.float32)


@dataclass(frozen=True)
class Task:
    """What a network is to do. A classifier gives class scores after every step (a causal
    per-step head); a sequence counts as recognized when the scores after its last step are highest
    at its label. A regression gives values at every step.

    Attributes:
        labels: what each output stands for: the classes, or the values' names.
        frame_period_s: time between two frames in seconds; ``frame_period_source`` says where it
            is stated.
        channels, units: what the inputs are and what they are measured in.
        group_name: what ``SequenceSet.groups`` numbers ("subject"), or "" where it is unknown.
        source: the data set, its origin and licence.
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

    @cached_property
    def normalization(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over the training data, float32."""
        frames = np.concatenate(self.train.sequences)
        return frames.mean(0).astype(np.float32), frames.std(0).astype(np.float32)


TaskLoader = Callable[[], Task]


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
