"""Stock prices: the next trading day's return, from the last days' prices and volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError
from models.metrics import Metric, mean_absolute_error
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Baselines, Task

# By time, the same days for all stocks: nobody knows one stock's future from another's past.
VALIDATION_START, TEST_START = np.datetime64("2009-01-01"), np.datetime64("2010-07-01")
# About half a year of trading days.
TRAINING_STEPS = 125
BASIS_POINTS = 1e4
# Volumes are told against their mean over a month of trading days.
VOLUME_DAYS = 21
# A return needs the day before, a relative volume the month before.
FIRST_DAY = VOLUME_DAYS
SOURCE = "Quandl WIKI prices, declared public domain by Quandl; read from bokeh_sampledata"

Arrays = tuple[NDArray[Any], NDArray[Any]]


class Stock(NamedTuple):
    """A stock's days within a part of the data: frames and wanted values [days, any] float32."""

    number: int
    frames: NDArray[Any]
    values: NDArray[Any]


def load() -> Task:
    """Read daily prices of AAPL, FB, GOOG, IBM and MSFT from 2000 to 2013 (12,154 days of one
    stock) from the package bokeh_sampledata. After each day the logarithm of the next day's return
    is wanted, in basis points, from prices adjusted for splits and dividends.

    Raises:
        MissingDataError: bokeh_sampledata is not installed.
    """
    return stock_task(
        "stocks",
        split_by_date(_frames_and_returns),
        "logarithm of the next day's return, basis points",
        channels=(
            "return since yesterday",
            "return since the opening",
            "range of the day",
            "volume against its month's mean",
        ),
        units="logarithms of ratios; of prices in basis points",
        metric=Metric(
            "mean absolute error",
            "bp",
            False,
            "of the logarithm of the next day's return, at every day",
            mean_absolute_error,
        ),
        baselines=baselines,
    )


def stock_task(
    name: str,
    parts: list[list[Stock]],
    label: str,
    *,
    channels: tuple[str, ...],
    units: str,
    metric: Metric,
    baselines: Baselines,
) -> Task:
    """Make a task of the stocks' training, validation and test days; see Task."""
    train, validation, test = parts
    return Task(
        name=name,
        train=sequence_set(train, TRAINING_STEPS),
        validation=sequence_set(validation),
        test=sequence_set(test),
        labels=(label,),
        channels=channels,
        units=units,
        frame_period_s=24 * 3600.0,
        frame_period_source="a row a trading day; trading days are a day apart or more",
        group_name="stock",
        source=SOURCE,
        metric=metric,
        baselines=baselines,
    )


def split_by_date(frames_and_values: Callable[[Any], Arrays]) -> list[list[Stock]]:
    """Read the stocks and split their days into training, validation and test by date.

    Args:
        frames_and_values: makes channels and wanted values [days, any], from FIRST_DAY on to the
            last day but one, of a stock's table in order of time.

    Raises:
        MissingDataError: bokeh_sampledata is not installed.
    """
    try:
        from bokeh_sampledata.stocks import data
    except ImportError as error:
        raise MissingDataError(
            f"the tasks of stocks need bokeh_sampledata ({error}); "
            "install it with 'pip install edgestep[workstation]'"
        ) from error
    parts: list[list[Stock]] = [[], [], []]
    for number, ticker in enumerate(sorted(data["ticker"].unique())):
        days = data[data["ticker"] == ticker].sort_values("date")
        frames, values = frames_and_values(days)
        dates = days["date"].to_numpy()[FIRST_DAY:-1]
        part = np.searchsorted([VALIDATION_START, TEST_START], dates, side="right")
        for index, stocks in enumerate(parts):
            if (part == index).any():
                stocks.append(Stock(number, frames[part == index], values[part == index]))
    return parts


def mean_error(returns: NDArray[Any], data: SequenceSet) -> float:
    """Compute the mean absolute error of predicted returns [sequences, longest], in basis points,
    over all days."""
    errors = [
        np.abs(given[: len(wanted)] - wanted[:, 0])
        for given, wanted in zip(returns, data.values or [], strict=True)
    ]
    return float(np.concatenate(errors).mean())


def baselines(task: Task) -> dict[str, float]:
    """Judge guesses without a network: no return at all; the mean and the median return of the
    training days; and today's return once more."""
    today = task.test.padded[..., 0]
    known = np.concatenate(task.train.values or [])
    return {
        "last value": mean_error(np.zeros_like(today), task.test),
        "training mean": mean_error(np.full_like(today, known.mean()), task.test),
        "training median": mean_error(np.full_like(today, np.median(known)), task.test),
        "linear extrapolation": mean_error(today, task.test),
    }


def _frames_and_returns(days: Any) -> Arrays:
    """Channels [days, 4] and next day's returns [days, 1], float32, from the first day on that
    has a past to the last that has a future; ``days`` is a stock's table in order of time."""
    close = np.log(days["adj_close"].to_numpy(float))
    opened, high, low, closed = (
        np.log(days[name].to_numpy(float)) for name in ("open", "high", "low", "close")
    )
    returns = BASIS_POINTS * np.diff(close, prepend=close[0])
    volume = days["volume"]
    channels = [
        returns,
        BASIS_POINTS * (closed - opened),
        BASIS_POINTS * (high - low),
        np.log(volume / volume.rolling(VOLUME_DAYS).mean()).to_numpy(float),
    ]
    frames = np.stack(channels, 1).astype(np.float32)[FIRST_DAY:-1]
    return frames, returns[FIRST_DAY + 1 :, np.newaxis].astype(np.float32)


def sequence_set(stocks: list[Stock], steps: int | None = None) -> SequenceSet:
    """Give the stocks' sequences, in pieces of at most ``steps`` days."""
    sequences, values, groups = [], [], []
    for number, frames, wanted in stocks:
        for start in range(0, len(frames), steps or len(frames)):
            end = start + (steps or len(frames))
            sequences.append(frames[start:end])
            values.append(wanted[start:end])
            groups.append(number)
    none = np.zeros(len(sequences), np.int64)
    return SequenceSet(sequences, none, np.array(groups, np.int64), values)
