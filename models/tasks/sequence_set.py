"""Sequences of different lengths with what is wanted of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


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
