"""Basic motions: standing, running, walking or badminton, from a smart watch."""

from __future__ import annotations

import numpy as np

from models.errors import MissingDataError
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task, split_by_label

LABELS = ("standing", "running", "walking", "badminton")
VALIDATION_SHARE = 0.2
# Which training sequences are held out for validation is part of the task, not of a run.
SPLIT_SEED = 20


def load() -> Task:
    """Read the data set from the sktime package: 40 training and 40 test recordings of ten seconds
    by four students. Who recorded which is not told, so nobody knows whether the split is by
    person.

    Raises:
        MissingDataError: sktime is not installed.
    """
    training = _sequences("train")
    kept, held_out = split_by_label(training.labels, VALIDATION_SHARE, SPLIT_SEED)
    return Task(
        name="basic-motions",
        train=training.select(kept),
        validation=training.select(held_out),
        test=_sequences("test"),
        labels=LABELS,
        channels=("ax", "ay", "az", "wx", "wy", "wz"),
        units="acceleration (ax, ay, az) and angular rate (wx, wy, wz), in units not told",
        frame_period_s=0.1,
        frame_period_source="sampled once every tenth of a second, as the data file states",
        group_name="",
        source="J. Clements, University of East Anglia (2016), UEA archive (Bagnall et al. 2018, "
        "arXiv 1811.00075), which names no licence; read from sktime",
    )


def _sequences(split: str) -> SequenceSet:
    try:
        from sktime.datasets import load_basic_motions
    except ImportError as error:
        raise MissingDataError(
            f"the task basic-motions needs sktime ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    frames, labels = load_basic_motions(split=split, return_type="pd-multiindex")
    sequences = [group.to_numpy(np.float32) for _, group in frames.groupby(level=0, sort=True)]
    classes = np.array([LABELS.index(str(label)) for label in labels], np.int64)
    return SequenceSet(sequences, classes, np.zeros(len(classes), np.int64))
