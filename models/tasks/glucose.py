"""Blood glucose half an hour ahead, from a continuous glucose monitor's own readings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError
from models.metrics import Metric
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

SAMPLE_PERIOD_MINUTES = 5
AHEAD_STEPS = 30 // SAMPLE_PERIOD_MINUTES
# Two readings further apart than this have a gap between them, which no sequence crosses.
LONGEST_PERIOD_MINUTES = 6
# Training sequences are cut to half a day, so that a batch is not mostly padding.
TRAINING_STEPS = 144
# The slope of the linear extrapolation is taken over a quarter of an hour; steps with less of a
# past are not judged, for none of the competitors.
SLOPE_STEPS = 3
# By time: the first part trains, the last tests.
TRAINING_SHARE, VALIDATION_SHARE = 0.7, 0.1


def load() -> Task:
    """Read the recording from the package bokeh_sampledata: one wearer, 52,281 readings over
    six months. At each step the change of the glucose over the next 30 minutes is wanted.

    A sequence is a stretch without a gap. Its last half hour, whose future is not known or lies
    beyond the border to the next part of the data, is left out. The unit of the sensor current is
    not told; nA is what such sensors give.

    Raises:
        MissingDataError: bokeh_sampledata is not installed.
    """
    minutes, readings = _recording()
    # Each reading's sequence: a new one after a gap.
    stretch = np.cumsum(np.diff(minutes, prepend=minutes[0]) > LONGEST_PERIOD_MINUTES)
    borders = np.quantile(
        minutes, [TRAINING_SHARE, TRAINING_SHARE + VALIDATION_SHARE], method="lower"
    )
    part = np.searchsorted(borders, minutes, side="right")
    train, validation, test = (
        _stretches(minutes, readings, stretch, part == number) for number in range(3)
    )
    return Task(
        name="glucose",
        train=_cut(train, TRAINING_STEPS),
        validation=validation,
        test=test,
        labels=("glucose in 30 minutes minus glucose now, mg/dL",),
        channels=("glucose", "sensor current"),
        units="glucose in mg/dL, sensor current in nA",
        frame_period_s=60.0 * SAMPLE_PERIOD_MINUTES,
        frame_period_source="a reading every 5 minutes, as the recording's time stamps show",
        group_name="",
        source="bokeh_sampledata, CGM.csv: public domain, given to Bokeh's maintainers by the "
        "wearer's acquaintance",
        metric=Metric(
            "mean absolute error",
            "mg/dL",
            False,
            "of the glucose in 30 minutes, at every step but the first 15 minutes of a sequence",
            lambda outputs, data: mean_error(outputs[..., 0], data),
            lambda outputs, data: summed_errors(outputs[..., 0], data),
        ),
        baselines=baselines,
    )


def mean_error(changes: NDArray[Any], data: SequenceSet) -> float:
    """Compute the mean absolute error of predicted changes [sequences, longest] in mg/dL, at the
    steps that are judged."""
    return float(np.concatenate(_errors(changes, data)).mean())


def summed_errors(changes: NDArray[Any], data: SequenceSet) -> tuple[list[float], list[int]]:
    """Sum the absolute errors of each sequence, and count them."""
    errors = _errors(changes, data)
    return [float(one.sum()) for one in errors], [len(one) for one in errors]


def _errors(changes: NDArray[Any], data: SequenceSet) -> list[NDArray[Any]]:
    return [
        np.abs(given[SLOPE_STEPS : len(wanted)] - wanted[SLOPE_STEPS:, 0])
        for given, wanted in zip(changes, data.values or [], strict=True)
    ]


def baselines(task: Task) -> dict[str, float]:
    """Judge two guesses: no change, and the straight line through now and a quarter of an hour
    ago."""
    glucose = task.test.padded[..., 0]
    past = np.concatenate([glucose[:, :SLOPE_STEPS], glucose[:, :-SLOPE_STEPS]], 1)
    return {
        "last value": mean_error(np.zeros_like(glucose), task.test),
        "linear extrapolation": mean_error((glucose - past) * AHEAD_STEPS / SLOPE_STEPS, task.test),
    }


def _recording() -> tuple[NDArray[Any], NDArray[Any]]:
    """Minutes since the start, int64 [readings], in order; and the channels, float32
    [readings, channels]."""
    try:
        from bokeh_sampledata.glucose import data
    except ImportError as error:
        raise MissingDataError(
            f"the task glucose needs bokeh_sampledata ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    data = data[~data.index.duplicated()].sort_index()
    # The current is "nil" where the sensor gave none; what it gave last is all that is known then.
    current = data["isig"].replace("nil", None).astype(float).ffill()
    moments = data.index.to_numpy().astype("datetime64[m]").astype(np.int64)
    channels = np.stack([data["glucose"], current], 1).astype(np.float32)
    return moments - moments[0], channels


def _stretches(
    minutes: NDArray[Any], readings: NDArray[Any], stretch: NDArray[Any], chosen: NDArray[Any]
) -> SequenceSet:
    """The stretches among the chosen readings that are long enough to be judged at a step."""
    sequences, values = [], []
    for number in np.unique(stretch[chosen]):
        frames = readings[chosen & (stretch == number)]
        if len(frames) <= AHEAD_STEPS + SLOPE_STEPS:
            continue
        sequences.append(frames[:-AHEAD_STEPS])
        values.append(frames[AHEAD_STEPS:, :1] - frames[:-AHEAD_STEPS, :1])
    none = np.zeros(len(sequences), np.int64)
    return SequenceSet(sequences, none, none, values)


def _cut(data: SequenceSet, steps: int) -> SequenceSet:
    """The same in pieces of at most ``steps`` steps."""
    sequences = [s[i : i + steps] for s in data.sequences for i in range(0, len(s), steps)]
    values = [v[i : i + steps] for v in data.values or [] for i in range(0, len(v), steps)]
    none = np.zeros(len(sequences), np.int64)
    return SequenceSet(sequences, none, none, values)
