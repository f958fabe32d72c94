"""A first look at a task's data: what is likely to spoil a training or flatter its figures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks.sequence_set import SequenceSet, TargetKind
from models.tasks.task import Task

# Fewer groups than this in a part say little about others.
FEW_GROUPS = 5
# One sequence of validation moves the score by more than 2 % below this.
FEW_SEQUENCES = 50
# A class with less than this share of the training data is rare.
RARE_SHARE = 0.02
# A value this many deviations from the mean is no noise.
FAR_DEVIATIONS = 30.0
# A channel whose mean moves by this many deviations from training to test is another one there.
MOVED_DEVIATIONS = 2.0
# Steps compared where stretches of two parts are held against each other.
STRETCH_STEPS = 8
# The longest sequence against the median: batches are mostly padding beyond.
LONGEST_TIMES = 10
# What guessing the class from the length alone may gain over the most frequent class.
LENGTH_GAIN = 0.2


@dataclass(frozen=True)
class Finding:
    """Something about a task's data.

    Attributes:
        grave: whether figures made from the data would be wrong or say little.
        text: what, and what to do, in a sentence.
    """

    grave: bool
    text: str


def first_look(task: Task) -> list[Finding]:
    """Look for what is wrong with a task's data: the grave findings first.

    Looked at are groups and classes of the parts, equal stretches in two of them, channels that
    stay, count, repeat each other or differ between parts, values far out, and lengths.
    """
    looks: tuple[Callable[[Task], Iterator[Finding]], ...] = (
        _groups, _shared_stretches, _classes, _few, _lengths,
    )  # fmt: skip
    findings = [finding for look in looks for finding in look(task)]
    if not task.vocabulary:
        findings += _channels(task)
    return sorted(findings, key=lambda finding: not finding.grave)


def parts_of(task: Task) -> dict[str, SequenceSet]:
    """Return the parts of a task's data by name."""
    return {"training": task.train, "validation": task.validation, "test": task.test}


def _groups(task: Task) -> Iterator[Finding]:
    if not task.group_name:
        yield Finding(False, "nothing tells of whom the sequences are; test data may be of the "
                      "people, days or devices of training")  # fmt: skip
        return
    groups = {name: set(part.groups.tolist()) for name, part in parts_of(task).items()}
    for (one, first), (other, second) in itertools.combinations(groups.items(), 2):
        if shared := first & second:
            yield Finding(
                True,
                f"{len(shared)} {task.group_name}(s) are in {one} and in {other} data; the figures "
                "say nothing about others",
            )
    for name, found in groups.items():
        if len(found) < FEW_GROUPS:
            yield Finding(
                False,
                f"the {name} data is of {len(found)} {task.group_name}(s); its figure says little "
                "about others",
            )
    known = task.train
    if known.kind is TargetKind.LABEL and len(task.labels) > 1:
        pairs = set(zip(known.groups.tolist(), known.labels.tolist(), strict=True))
        classes = len(np.unique(known.labels))
        if classes > 1 and len(pairs) == len(groups["training"]):
            yield Finding(
                True,
                f"each {task.group_name} shows one class only, so a network may learn who it is "
                "instead of the class; record each class of several",
            )


def _shared_stretches(task: Task) -> Iterator[Finding]:
    parts = {name: _stretches(part) for name, part in parts_of(task).items()}
    for (one, first), (other, second) in itertools.combinations(parts.items(), 2):
        later = second if other == "test" or len(second) < len(first) else first
        shared = len(first & second)
        if shared and later:
            yield Finding(
                True,
                f"{shared} of {len(later)} stretches of {STRETCH_STEPS} steps in the {other} data "
                f"are in the {one} data too; the figures flatter",
            )


def _stretches(data: SequenceSet) -> set[bytes]:
    """Stretches of steps that do not overlap, at every phase; still ones tell nothing."""
    found = set()
    for sequence in data.sequences:
        size = min(STRETCH_STEPS, len(sequence))
        for start in range(len(sequence) - size + 1):
            stretch = sequence[start : start + size]
            if len(sequence) < STRETCH_STEPS or (stretch != stretch[0]).any(1).sum() >= size // 2:
                found.add(stretch.tobytes())
    return found


def _classes(task: Task) -> Iterator[Finding]:
    counts = {
        name: found
        for name, part in parts_of(task).items()
        if (found := class_counts(part, len(task.labels))) is not None
    }
    if not counts:
        return
    for name, found in counts.items():
        missing = [label for label, n in zip(task.labels, found, strict=True) if not n]
        if missing:
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            yield Finding(name == "training", f"the {name} data has no class {shown}")
    known = counts["training"]
    share = known / known.sum()
    rare = [label for label, part in zip(task.labels, share, strict=True) if 0 < part < RARE_SHARE]
    if rare and len(task.labels) < 1 / RARE_SHARE:
        yield Finding(False, f"less than {RARE_SHARE:.0%} of the training data is of the class "
                      f"{', '.join(rare[:5])}")  # fmt: skip
    if share.max() > 0.8:
        most = task.labels[int(share.argmax())]
        yield Finding(
            False,
            f"{share.max():.0%} of the training data is of the class {most}; an accuracy near "
            "that is none",
        )


def class_counts(data: SequenceSet, classes: int) -> NDArray[Any] | None:
    """Count the sequences, or steps, of each class, int64 [classes]; None where none is wanted."""
    if data.kind is TargetKind.LABEL:
        return np.bincount(data.labels, minlength=classes)
    if data.kind is TargetKind.STEP_LABELS:
        told = np.concatenate(data.step_labels or [])
        return np.bincount(told[told >= 0], minlength=classes)
    return None


def _few(task: Task) -> Iterator[Finding]:
    for name, part in parts_of(task).items():
        if name != "training" and part.kind is TargetKind.LABEL and len(part) < FEW_SEQUENCES:
            yield Finding(
                False,
                f"the {name} data has {len(part)} sequences, so one of them moves its score by "
                f"{100 / len(part):.1f} points",
            )


def _lengths(task: Task) -> Iterator[Finding]:
    lengths = task.train.lengths
    if lengths.max() > LONGEST_TIMES * np.median(lengths):
        yield Finding(
            False,
            f"the longest training sequence has {lengths.max()} steps, the median "
            f"{np.median(lengths):.0f}; cut them with 'window', or batches are mostly padding",
        )
    if task.train.kind is not TargetKind.LABEL or len(lengths) < FEW_SEQUENCES * 2:
        return
    labels = task.train.labels
    most = np.bincount(labels).max() / len(labels)
    guessed = sum(
        np.bincount(labels[bins]).max()
        for bins in _tenths(lengths)
        if len(bins)
    )  # fmt: skip
    if guessed / len(labels) > most + LENGTH_GAIN:
        yield Finding(
            False,
            f"the length of a sequence alone tells the class in {guessed / len(labels):.0%} "
            f"({most:.0%} by the most frequent class); a network may learn that",
        )


def _tenths(lengths: NDArray[Any]) -> list[NDArray[Any]]:
    borders = np.unique(np.quantile(lengths, np.linspace(0, 1, 11)[1:-1]))
    bins = np.searchsorted(borders, lengths)
    return [np.flatnonzero(bins == one) for one in range(len(borders) + 1)]


def _channels(task: Task) -> Iterator[Finding]:
    known = np.concatenate(task.train.sequences).astype(np.float64)
    mean, deviation = known.mean(0), known.std(0)
    moves = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-30)
    names = np.array(task.channels)
    for name in names[~moves]:
        yield Finding(False, f"the channel '{name}' never changes in the training data; leave it "
                      "out")  # fmt: skip
    scaled = (known - mean) / np.where(moves, deviation, 1)
    yield from _twins(names, scaled, moves)
    yield from _counters(task, names, moves)
    for channel in np.flatnonzero(np.abs(scaled).max(0) > FAR_DEVIATIONS):
        yield Finding(
            False,
            f"the channel '{names[channel]}' reaches {np.abs(scaled[:, channel]).max():.0f} "
            "deviations from its mean; is that a fault of the sensor?",
        )
    test = np.concatenate(task.test.sequences).astype(np.float64)
    moved = np.abs(test.mean(0) - mean) / np.where(moves, deviation, np.inf)
    for channel in np.flatnonzero(moved > MOVED_DEVIATIONS):
        yield Finding(
            False,
            f"the mean of the channel '{names[channel]}' in the test data is "
            f"{moved[channel]:.1f} deviations away from that of training",
        )


def _twins(names: NDArray[Any], scaled: NDArray[Any], moves: NDArray[Any]) -> Iterator[Finding]:
    likeness = scaled.T @ scaled / len(scaled)
    for one, other in itertools.combinations(np.flatnonzero(moves), 2):
        if abs(likeness[one, other]) > 0.9999:
            yield Finding(
                False, f"the channels '{names[one]}' and '{names[other]}' say the same; leave one "
                "out"
            )  # fmt: skip


def _counters(task: Task, names: NDArray[Any], moves: NDArray[Any]) -> Iterator[Finding]:
    """Channels that rise by the same amount at every step: numbers of rows, or times."""
    long = [sequence for sequence in task.train.sequences if len(sequence) > 2]
    if not long:
        return
    steps = [np.diff(sequence.astype(np.float64), axis=0) for sequence in long]
    even = np.all([np.ptp(one, axis=0) < 1e-3 * np.abs(one).mean(0) for one in steps], axis=0)
    for name in names[even & moves]:
        yield Finding(
            True, f"the channel '{name}' rises evenly, as the number of a row or a time does; "
            "leave it out"
        )  # fmt: skip
