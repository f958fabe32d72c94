"""Shoulder exercises: which of seven, from a smart watch's accelerometer and gyroscope."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from device_runner.front_ends.samples import describe
from models.errors import MissingDataError
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

SAMPLE_RATE_HZ = 50
WINDOW_SECONDS = 2
# Of the windows of four seconds: training windows overlap, a new one begins every second, and a
# frame is four samples, one behind the other.
LONG_WINDOW_SECONDS = 4
LONG_WINDOW_STRIDE_SECONDS = 1
SAMPLES_PER_FRAME = 4
# Subjects never appear on two sides of the split.
VALIDATION_SUBJECTS = (7,)
TEST_SUBJECTS = (8, 9, 10)


def load() -> Task:
    """Read the data set from the seglearn package: 140 recordings of ten subjects (seven
    exercises, both arms), cut into windows of two seconds that do not overlap.

    Raises:
        MissingDataError: seglearn is not installed.
    """
    return _task("watch-exercises", WINDOW_SECONDS, WINDOW_SECONDS, 1)


def load_4s() -> Task:
    """Read the data set in windows of four seconds, which overlap in the training data alone, and
    frames of four samples: a step every 80 ms, 50 of them a window.

    Raises:
        MissingDataError: seglearn is not installed.
    """
    return _task(
        "watch-exercises-4s", LONG_WINDOW_SECONDS, LONG_WINDOW_STRIDE_SECONDS, SAMPLES_PER_FRAME
    )


def _task(name: str, window_s: int, stride_s: int, samples: int) -> Task:
    """The task with windows of ``window_s`` seconds, in the training data one every ``stride_s``,
    and so many samples a frame."""
    try:
        from seglearn.datasets import load_watch
    except ImportError as error:
        raise MissingDataError(
            f"the task {name} needs seglearn ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    recordings = load_watch()
    everyone = {int(subject) for subject in recordings["subject"]}
    trained = everyone - {*VALIDATION_SUBJECTS, *TEST_SUBJECTS}
    axes = tuple(recordings["X_labels"])
    ages = [f" {number}" for number in range(1, samples + 1)] if samples > 1 else [""]
    return Task(
        name=name,
        train=_windows(recordings, trained, window_s, stride_s, samples),
        validation=_windows(recordings, VALIDATION_SUBJECTS, window_s, window_s, samples),
        test=_windows(recordings, TEST_SUBJECTS, window_s, window_s, samples),
        labels=tuple(recordings["y_labels"]),
        channels=tuple(axis + age for age in ages for axis in axes),
        units="acceleration in g (ax, ay, az), angular rate in rad/s (wx, wy, wz)",
        frame_period_s=samples / SAMPLE_RATE_HZ,
        frame_period_source="sampled at 50 Hz, as the data set's description states"
        + (f"; {samples} samples a frame" if samples > 1 else ""),
        group_name="subject",
        source="Burns et al. (2018), arXiv 1802.01489, BSD-3-Clause; read from seglearn",
        front_end=describe(samples, len(axes)) if samples > 1 else None,
    )


def _windows(
    recordings: dict[str, Any],
    subjects: Collection[int],
    window_s: int,
    stride_s: int,
    samples: int,
) -> SequenceSet:
    """Windows of the recordings of these subjects."""
    steps, stride = window_s * SAMPLE_RATE_HZ, stride_s * SAMPLE_RATE_HZ
    windows, labels, groups = [], [], []
    for recording, label, subject in zip(
        recordings["X"], recordings["y"], recordings["subject"], strict=True
    ):
        if int(subject) not in subjects:
            continue
        for start in range(0, len(recording) - steps + 1, stride):
            window = recording[start : start + steps].astype(np.float32)
            windows.append(window.reshape(steps // samples, -1))
            labels.append(int(label))
            groups.append(int(subject))
    return SequenceSet(windows, np.array(labels, np.int64), np.array(groups, np.int64))
