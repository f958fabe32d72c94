"""Stock prices: how far apart the next trading day's highest and lowest price are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import Metric, mean_absolute_error
from models.tasks.sequence_set import SequenceSet
from models.tasks.stocks import (
    BASIS_POINTS,
    FIRST_DAY,
    VOLUME_DAYS,
    Arrays,
    Stock,
    mean_error,
    split_by_date,
    stock_task,
)
from models.tasks.task import Task

# A day without any trade at another price has no logarithm; one basis point is less than any other.
LEAST_RANGE = 1 / BASIS_POINTS
WEEK_DAYS, MONTH_DAYS = 5, 21
CHANNELS = 4


def load() -> Task:
    """Read the same daily prices as the task stocks. After each day the natural logarithm of the
    next day's range is wanted, the range being the logarithm of the highest price over the lowest.

    Raises:
        MissingDataError: bokeh_sampledata is not installed.
    """
    parts = split_by_date(_frames_and_ranges)
    # The averages of the linear baseline need days before a part begins, so they are made with the
    # channels and cut off here.
    averages = [np.concatenate([stock.frames[:, CHANNELS:] for stock in part]) for part in parts]
    days = [
        [Stock(one.number, one.frames[:, :CHANNELS], one.values) for one in part] for part in parts
    ]
    return stock_task(
        "stock-ranges",
        days,
        "logarithm of the next day's range",
        channels=(
            "logarithm of the day's range",
            "return since yesterday, signed logarithm",
            "return since the opening, signed logarithm",
            "volume against its month's mean",
        ),
        units="logarithms of ratios; of a return of r basis points, log(1 + r) with its sign",
        metric=Metric(
            "mean absolute error",
            "",
            False,
            "of the logarithm of the next day's range, at every day",
            mean_absolute_error,
        ),
        baselines=partial(baselines, averages=(averages[0], averages[2])),
    )


def baselines(task: Task, averages: Arrays) -> dict[str, float]:
    """Judge guesses without a network: today's range once more; the mean of the training days; and
    least squares on the day's, the week's and the month's mean (Corsi 2009, equation 8).

    Args:
        averages: these three means [days, 3] of the training and the test days, in order.
    """
    known = np.concatenate(task.train.values or [])[:, 0]
    today = task.test.padded[..., 0]
    return {
        "last value": mean_error(today, task.test),
        "training mean": mean_error(np.full_like(today, known.mean()), task.test),
        "linear on day, week and month": _linear_error(averages, known, task.test),
    }


def _linear_error(averages: Arrays, known: NDArray[Any], test: SequenceSet) -> float:
    training, tested = (np.insert(part.astype(float), 0, 1, axis=1) for part in averages)
    weights, *_ = np.linalg.lstsq(training, known, rcond=None)
    wanted = np.concatenate(test.values or [])[:, 0]
    return float(np.abs(tested @ weights - wanted).mean())


def _signed_logarithm(returns: NDArray[Any]) -> NDArray[Any]:
    """Bring returns to the size of the other channels: in int8, all share one scale."""
    return np.copysign(np.log1p(BASIS_POINTS * np.abs(returns)), returns)


def _frames_and_ranges(days: Any) -> Arrays:
    """Channels and the three means [days, 7] and next day's ranges [days, 1], float32."""
    close = np.log(days["adj_close"].to_numpy(float))
    opened, high, low, closed = (
        np.log(days[name].to_numpy(float)) for name in ("open", "high", "low", "close")
    )
    returns = np.diff(close, prepend=close[0])
    ranges = np.log(np.maximum(high - low, LEAST_RANGE))
    volume = days["volume"]
    table = volume.to_frame().assign(range=ranges)["range"]
    channels = [
        ranges,
        _signed_logarithm(returns),
        _signed_logarithm(closed - opened),
        np.log(volume / volume.rolling(VOLUME_DAYS).mean()).to_numpy(float),
        *(table.rolling(count).mean().to_numpy(float) for count in (1, WEEK_DAYS, MONTH_DAYS)),
    ]
    frames = np.stack(channels, 1).astype(np.float32)[FIRST_DAY:-1]
    return frames, ranges[FIRST_DAY + 1 :, np.newaxis].astype(np.float32)
