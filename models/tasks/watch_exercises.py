"""Shoulder exercises: which of seven, from a smart watch's accelerometer and gyroscope."""

from __future__ import annotations

import numpy as np

from models.errors import MissingDataError
from models.tasks.task import SequenceSet, Task

SAMPLE_RATE_HZ = 50
WINDOW_STEPS = 2 * SAMPLE_RATE_HZ
# Subjects never appear on two sides of the split.
VALIDATION_SUBJECTS = (7,)
TEST_SUBJECTS = (8, 9, 10)


def load() -> Task:
    """Read the data set from the seglearn package: 140 recordings of ten subjects (seven
    exercises, both arms), cut into windows of two seconds that do not overlap.

    Raises:
        MissingDataError: seglearn is not installed.
    """
    try:
        from seglearn.datasets import load_watch
    except ImportError as error:
        raise MissingDataError(
            f"the task watch-exercises needs seglearn ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    recordings = load_watch()
    windows, labels, subjects = [], [], []
    for recording, label, subject in zip(
        recordings["X"], recordings["y"], recordings["subject"], strict=True
    ):
        for start in range(0, len(recording) - WINDOW_STEPS + 1, WINDOW_STEPS):
            windows.append(recording[start : start + WINDOW_STEPS].astype(np.float32))
            labels.append(int(label))
            subjects.append(int(subject))
    everyone = SequenceSet(windows, np.array(labels, np.int64), np.array(subjects, np.int64))
    held_out = np.isin(everyone.groups, VALIDATION_SUBJECTS)
    tested = np.isin(everyone.groups, TEST_SUBJECTS)
    return Task(
        name="watch-exercises",
        train=everyone.select(np.flatnonzero(~held_out & ~tested)),
        validation=everyone.select(np.flatnonzero(held_out)),
        test=everyone.select(np.flatnonzero(tested)),
        labels=tuple(recordings["y_labels"]),
        channels=tuple(recordings["X_labels"]),
        units="acceleration in g (ax, ay, az), angular rate in rad/s (wx, wy, wz)",
        frame_period_s=1 / SAMPLE_RATE_HZ,
        frame_period_source="sampled at 50 Hz, as the data set's description states",
        group_name="subject",
        source="Burns et al. (2018), arXiv 1802.01489, BSD-3-Clause; read from seglearn",
    )
