"""Sequences of different lengths with what is wanted of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelsError


class TargetKind(Enum):
    """What is wanted of a sequence, and what ``SequenceSet.targets`` holds of n sequences."""

    #: One class: class indices, int64 [n].
    LABEL = "label"
    #: A class at steps: class indices, int64 [n, longest]; -1 where none is wanted.
    STEP_LABELS = "step labels"
    #: Values at every step: float32 [n, longest, outputs].
    VALUES = "values"
    #: Classes in order, at no given step: class indices, int64 [n, most]; -1 after the last.
    TRANSCRIPT = "transcript"


@dataclass(frozen=True)
class SequenceSet:
    """Sequences of different lengths with one label each, or with a label or values wanted at
    every step.

    Args:
        sequences: each [steps, channels] float32, in the task's units; or, where the task has a
            vocabulary, [steps, 1] int32 token ids (0 is padding).
        labels: class index of each sequence, int64 [n]; zeros where something else is wanted.
        groups: who or what each sequence was recorded from (a subject, a speaker), int64 [n].
        values: what a regression wants of each step, each [steps, outputs] float32.
        step_labels: class index wanted at each step, each [steps] int64; -1 where none is.
        transcripts: class indices wanted in this order, each [any number] int64; 0 is the blank and
            is none of them.

    Raises:
        ModelsError: two of values, labels of steps and transcripts are wanted.

    Example:
        >>> import numpy as np
        >>> short, long = np.ones((2, 3), np.float32), np.ones((5, 3), np.float32)
        >>> data = SequenceSet([short, long], labels=np.array([0, 1]), groups=np.array([7, 7]))
        >>> data.kind
        <TargetKind.LABEL: 'label'>
        >>> data.padded.shape, data.lengths.tolist()
        ((2, 5, 3), [2, 5])
    """

    sequences: list[NDArray[Any]]
    labels: NDArray[Any]
    groups: NDArray[Any]
    values: list[NDArray[Any]] | None = None
    step_labels: list[NDArray[Any]] | None = None
    transcripts: list[NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        wanted = (self.values, self.step_labels, self.transcripts)
        if sum(one is not None for one in wanted) > 1:
            raise ModelsError(
                "a sequence has values or labels at its steps, or a transcript; give one of them"
            )

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def kind(self) -> TargetKind:
        """What is wanted of the sequences."""
        if self.values is not None:
            return TargetKind.VALUES
        if self.transcripts is not None:
            return TargetKind.TRANSCRIPT
        return TargetKind.LABEL if self.step_labels is None else TargetKind.STEP_LABELS

    def select(self, indices: NDArray[Any]) -> SequenceSet:
        """Take the sequences at these indices, in this order."""
        return SequenceSet(
            [self.sequences[i] for i in indices],
            self.labels[indices],
            self.groups[indices],
            None if self.values is None else [self.values[i] for i in indices],
            None if self.step_labels is None else [self.step_labels[i] for i in indices],
            None if self.transcripts is None else [self.transcripts[i] for i in indices],
        )

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of steps of each sequence, int64 [n]."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    @cached_property
    def padded(self) -> NDArray[Any]:
        """All sequences in one array [n, longest, channels] of their own dtype, zeros after the
        end."""
        return _padded(self.sequences)

    @cached_property
    def targets(self) -> NDArray[Any]:
        """What a network is fitted to, as :class:`TargetKind` says; after a sequence's end labels
        are -1 and values 0."""
        if self.values is not None:
            return _padded(self.values).astype(np.float32)
        ordered = self.step_labels if self.transcripts is None else self.transcripts
        if ordered is not None:
            return _padded(ordered, -1).astype(np.int64)
        return self.labels


def _padded(sequences: list[NDArray[Any]], filler: int = 0) -> NDArray[Any]:
    longest = max(len(sequence) for sequence in sequences)
    shape = (len(sequences), longest, *sequences[0].shape[1:])
    padded = np.full(shape, filler, sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
