"""Cross-validation inside a task's training data: settings are chosen there, not on test data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.errors import ModelsError
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

# One group is judged, one says when to stop, the rest trains.
LEAST_GROUPS = 3


def folds(task: Task) -> list[Task]:
    """Make a task of each group of the training and validation data.

    In each, one group (a speaker, a subject, a run of recordings) is the test data, the next one
    the validation data, and all others train. The task's own test data is in none of them.

    Returns:
        As many tasks as there are groups, in the groups' order.

    Raises:
        ModelsError: the training data has less than three groups.
    """
    known = joined(task.train, task.validation)
    groups = [int(group) for group in np.unique(known.groups)]
    if len(groups) < LEAST_GROUPS:
        raise ModelsError(
            f"the training data of {task.name} has {len(groups)} group(s); cross-validation needs "
            f"{LEAST_GROUPS}, so that none is on two sides"
        )
    tasks = []
    for place, judged in enumerate(groups):
        stopping = groups[(place + 1) % len(groups)]
        others = ~np.isin(known.groups, (judged, stopping))
        tasks.append(
            replace(
                task,
                train=known.select(np.flatnonzero(others)),
                validation=known.select(np.flatnonzero(known.groups == stopping)),
                test=known.select(np.flatnonzero(known.groups == judged)),
            )
        )
    return tasks


def joined(first: SequenceSet, second: SequenceSet) -> SequenceSet:
    """Put two sets of sequences with the same kind of targets behind each other."""

    def both(name: str) -> list[object] | None:
        one, other = getattr(first, name), getattr(second, name)
        return None if one is None or other is None else [*one, *other]

    return SequenceSet(
        [*first.sequences, *second.sequences],
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.groups, second.groups]),
        both("values"),  # type: ignore[arg-type]
        both("step_labels"),  # type: ignore[arg-type]
        both("transcripts"),  # type: ignore[arg-type]
    )
