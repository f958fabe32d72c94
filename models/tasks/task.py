"""What a task is: real sequences and what is wanted of them, for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import Metric, usual_metric
from models.tasks.sequence_set import SequenceSet, TargetKind


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
        remarks: what a reader of the figures must know of the data, a sentence each.
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
    remarks: tuple[str, ...] = ()

    @property
    def score(self) -> Metric:
        """The metric, the usual one where the task names none."""
        return self.metric or usual_metric(self.test)

    @property
    def gives_values(self) -> bool:
        """Whether the outputs are values; else they are logits."""
        return self.train.kind is TargetKind.VALUES

    @property
    def output_meaning(self) -> str:
        """What the outputs are, as a step model's contract says it."""
        kinds = {TargetKind.VALUES: "values", TargetKind.TRANSCRIPT: "transcript"}
        return kinds.get(self.train.kind, "logits")

    @cached_property
    def normalization(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and standard deviation of each channel over the training data, float32; 0 and 1 of
        token ids, which are no measurements."""
        if self.vocabulary:
            return np.zeros(1, np.float32), np.ones(1, np.float32)
        frames = np.concatenate(self.train.sequences)
        return frames.mean(0).astype(np.float32), frames.std(0).astype(np.float32)

    @cached_property
    def value_spread(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and standard deviation of each wanted value over the training data, float32."""
        values = np.concatenate(self.train.values or [])
        return values.mean(0).astype(np.float32), values.std(0).astype(np.float32)


Baselines = Callable[[Task], dict[str, float]]


def split_by_label(
    labels: NDArray[Any], share: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw the indices of a stratified split: (the rest, ``share`` of each class), in random
    order."""
    generator = np.random.default_rng(seed)
    kept, taken = [], []
    for label in np.unique(labels):
        indices = generator.permutation(np.flatnonzero(labels == label))
        count = round(share * len(indices))
        taken.append(indices[:count])
        kept.append(indices[count:])
    return generator.permutation(np.concatenate(kept)), np.concatenate(taken)
