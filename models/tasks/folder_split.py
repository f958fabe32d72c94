"""Split a user's recordings into training, validation and test data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import ModelsError
from models.tasks.folder_settings import SPLITS, FolderSettings
from models.tasks.recordings import Recording
from models.tasks.task import split_by_label

PARTS = ("training", "validation", "test")
#: What people call the parts.
PART_NAMES = {
    "train": 0, "training": 0,
    "val": 1, "valid": 1, "validation": 1, "dev": 1,
    "test": 2, "testing": 2,
}  # fmt: skip
# A fifth of the groups tests and another one validates.
FOLDS = 5
VALIDATION_SHARE = TEST_SHARE = 1 / FOLDS


def split_recordings(
    recordings: Sequence[Recording], settings: FolderSettings
) -> list[list[Recording]]:
    """Give each recording, or each stretch of it, to a part of the data.

    Returns:
        The recordings of training, validation and test.

    Raises:
        ModelsError: a part would be empty, or a recording tells an unknown one.
    """
    if settings.split == "time":
        parts = _by_time(recordings)
    else:
        numbers = _part_numbers(recordings, settings)
        parts = [
            [one for one, number in zip(recordings, numbers, strict=True) if number == part]
            for part in range(len(PARTS))
        ]
    for name, part in zip(PARTS, parts, strict=True):
        if not part:
            raise ModelsError(f"the {name} data would be empty; change 'split' in [data]")
    return parts


def _by_time(recordings: Sequence[Recording]) -> list[list[Recording]]:
    parts: list[list[Recording]] = [[], [], []]
    for one in recordings:
        rows = len(one.numbers)
        test = rows - math.floor(rows * TEST_SHARE)
        validation = test - math.floor(rows * VALIDATION_SHARE)
        borders = (0, validation, test, rows)
        for part, (start, stop) in enumerate(itertools.pairwise(borders)):
            if stop > start:
                parts[part].append(one.between(start, stop))
    return parts


def _part_numbers(recordings: Sequence[Recording], settings: FolderSettings) -> NDArray[np.int64]:
    if settings.split not in SPLITS:
        return np.array([_told(one) for one in recordings])
    classes = _numbered([one.label for one in recordings])
    if settings.split == "random":
        rest, test = split_by_label(classes, TEST_SHARE, settings.split_seed)
        share = VALIDATION_SHARE / (1 - TEST_SHARE)
        _, validation = split_by_label(classes[rest], share, settings.split_seed)
        numbers = np.zeros(len(recordings), np.int64)
        numbers[rest[validation]] = 1
        numbers[test] = 2
        return numbers
    if settings.test_groups:
        return _chosen(recordings, settings)
    return _drawn(recordings, classes, settings)


def _told(recording: Recording) -> int:
    number = PART_NAMES.get(recording.part.lower())
    if number is None:
        raise ModelsError(
            f"{recording.file} is of the part '{recording.part}'; parts are called "
            f"{', '.join(PART_NAMES)}"
        )
    return number


def _chosen(recordings: Sequence[Recording], settings: FolderSettings) -> NDArray[np.int64]:
    groups = [one.group for one in recordings]
    for name in (*settings.validation_groups, *settings.test_groups):
        if name not in groups:
            there = ", ".join(sorted(set(groups))[:20])
            raise ModelsError(f"no recording is of the {settings.group_name} '{name}'; of: {there}")
    numbers = dict.fromkeys(settings.validation_groups, 1) | dict.fromkeys(settings.test_groups, 2)
    return np.array([numbers.get(group, 0) for group in groups])


def _drawn(
    recordings: Sequence[Recording], classes: NDArray[np.int64], settings: FolderSettings
) -> NDArray[np.int64]:
    """Draw groups so that the parts' classes are about as frequent as in all."""
    groups = _numbered([one.group for one in recordings])
    count = len(np.unique(groups))
    if count < len(PARTS):
        raise ModelsError(
            f"all recordings are of {count} {settings.group_name}{'s' * (count > 1)}; training, "
            f"validation and test need {len(PARTS)}, so that none is on two sides. Split the "
            'recordings with split = "time", or with split = "random", and the figures will say so'
        )
    folds = StratifiedGroupKFold(
        min(FOLDS, count), shuffle=True, random_state=settings.split_seed
    ).split(classes, classes, groups)
    tested, validated = (held for _, held in (next(folds), next(folds)))
    numbers = np.zeros(len(recordings), np.int64)
    numbers[validated], numbers[tested] = 1, 2
    return numbers


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.unique(np.array(names, str), return_inverse=True)[1]
    return numbers
