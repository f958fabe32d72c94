"""What can go wrong between a sensor and a step: frames in time, values in a frame, bits in memory.

Each disturbance has a severity that grows, and 0 stands for none. A disturbed sequence is judged on
the clock of the undisturbed one: at each of its frames the model's newest answer counts, as on a
device whose display goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = dict[str, NDArray[Any]]
Values = NDArray[np.float64]
# (frames in the sequence, severity, random numbers) -> what is delivered
TimeChange = Callable[[int, float, np.random.Generator], "Delivery"]
# (values [steps, channels], severity, deviation of each channel, random numbers) -> values
ValueChange = Callable[[Values, float, Values, np.random.Generator], Values]


class Acts(Enum):
    """What a disturbance acts on."""

    TIME = "which frames arrive, and when"
    VALUES = "the values of a frame"
    STATE = "the stored bits of the state, between two steps"
    WEIGHTS = "the stored bits of the weights, once"


@dataclass(frozen=True)
class Delivery:
    """Which frames reach the model, and when.

    Attributes:
        positions: where in the sequence each delivered frame was taken, float64 [delivered], in
            frames. Between two frames the sensor's values are interpolated; token ids are the
            nearest.
        newest: at each frame of the sequence, the index of the newest delivered one, int64
            [frames]; -1 before the first.
    """

    positions: NDArray[np.float64]
    newest: NDArray[np.int64]


@dataclass(frozen=True)
class Disturbance:
    """One kind of disturbance.

    Attributes:
        meaning: what a severity is, for people.
        severities: those that are tried, growing.
        acts: what it acts on.
        time, values: how, for Acts.TIME and Acts.VALUES. Bits flip in
            :mod:`pipeline.robustness.bit_flips`.
    """

    meaning: str
    severities: tuple[float, ...]
    acts: Acts
    time: TimeChange | None = None
    values: ValueChange | None = None

    def shown(self, severity: float) -> str:
        """Write a severity as a person reads it: "5 %", "1e-05"."""
        if self.acts in (Acts.STATE, Acts.WEIGHTS):
            return f"{severity:.0e}"
        return f"{100 * severity:g} %"


def _newest(count: int, arrivals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the last delivered frame by each frame; ``arrivals`` grow."""
    newest: NDArray[np.int64] = np.searchsorted(arrivals, np.arange(count), side="right") - 1
    return newest


def dropped(count: int, share: float, random: np.random.Generator) -> Delivery:
    """Lose a share of the frames: the model is not stepped."""
    kept = np.flatnonzero(random.random(count) >= share)
    if not len(kept):
        kept = np.array([0])
    return Delivery(kept.astype(np.float64), _newest(count, kept))


def late(count: int, share: float, random: np.random.Generator) -> Delivery:
    """Deliver the frame before again in place of a share of the frames."""
    held = np.where(random.random(count) < share, 0, np.arange(count))
    positions = np.maximum.accumulate(held).astype(np.float64)
    return Delivery(positions, np.arange(count))


def repeated(count: int, share: float, random: np.random.Generator) -> Delivery:
    """Deliver a share of the frames twice, so that the model is stepped twice."""
    times = 1 + (random.random(count) < share)
    return Delivery(np.repeat(np.arange(count), times).astype(np.float64), np.cumsum(times) - 1)


def slower(count: int, share: float, random: np.random.Generator) -> Delivery:
    """Sample at a rate that is lower by a share; there are fewer frames for the same time."""
    return _at_rate(count, 1 - share)


def faster(count: int, share: float, random: np.random.Generator) -> Delivery:
    """Sample at a rate that is higher by a share; there are more frames for the same time."""
    return _at_rate(count, 1 + share)


def _at_rate(count: int, rate: float) -> Delivery:
    positions = np.arange(0, count - 1 + 1e-9, 1 / rate)
    return Delivery(positions, _newest(count, np.ceil(positions - 1e-9).astype(np.int64)))


def noise(x: Values, size: float, deviation: Values, random: np.random.Generator) -> Values:
    """Add normal noise of a share of each channel's deviation."""
    noisy: Values = x + size * deviation * random.standard_normal(x.shape)
    return noisy


def offset(x: Values, size: float, deviation: Values, random: np.random.Generator) -> Values:
    """Move each channel, up or down, by a share of its deviation."""
    moved: Values = x + size * deviation * random.choice([-1.0, 1.0], x.shape[1])
    return moved


def gain(x: Values, size: float, deviation: Values, random: np.random.Generator) -> Values:
    """Make each channel stronger or weaker by a share."""
    changed: Values = x * (1 + size * random.choice([-1.0, 1.0], x.shape[1]))
    return changed


def stuck(x: Values, share: float, deviation: Values, random: np.random.Generator) -> Values:
    """Hold a share of the channels, at least one, at their first value."""
    chosen = _some_channels(x.shape[1], share, random)
    x = x.copy()
    x[:, chosen] = x[:1, chosen]
    return x


def dead(x: Values, share: float, deviation: Values, random: np.random.Generator) -> Values:
    """Let a share of the channels, at least one, give 0."""
    x = x.copy()
    x[:, _some_channels(x.shape[1], share, random)] = 0
    return x


def _some_channels(channels: int, share: float, random: np.random.Generator) -> NDArray[np.int64]:
    count = min(channels, max(1, round(share * channels)))
    return random.choice(channels, count, replace=False)


_SHARES = (0.01, 0.05, 0.1, 0.2, 0.4)
_SIZES = (0.1, 0.25, 0.5, 1.0, 2.0)
_FLIPS = (1e-6, 1e-5, 1e-4, 1e-3)

DISTURBANCES: Mapping[str, Disturbance] = {
    "dropped frames": Disturbance("share of the frames", _SHARES, Acts.TIME, time=dropped),
    "late frames": Disturbance("share of the frames", _SHARES, Acts.TIME, time=late),
    "repeated frames": Disturbance("share of the frames", _SHARES, Acts.TIME, time=repeated),
    "slower sensor": Disturbance("of the rate", (0.05, 0.1, 0.2, 0.4), Acts.TIME, time=slower),
    "faster sensor": Disturbance("of the rate", (0.05, 0.1, 0.2, 0.4), Acts.TIME, time=faster),
    "noise": Disturbance("of a channel's deviation", _SIZES, Acts.VALUES, values=noise),
    "offset": Disturbance("of a channel's deviation", _SIZES, Acts.VALUES, values=offset),
    "gain": Disturbance("of a channel's values", (0.05, 0.1, 0.2, 0.4), Acts.VALUES, values=gain),
    "stuck channels": Disturbance(
        "share of the channels", (0.05, 0.1, 0.25, 0.5), Acts.VALUES, values=stuck
    ),
    "dead channels": Disturbance(
        "share of the channels", (0.05, 0.1, 0.25, 0.5), Acts.VALUES, values=dead
    ),
    "bit flips in the state": Disturbance("chance of a bit at each step", _FLIPS, Acts.STATE),
    "bit flips in the weights": Disturbance("chance of a bit, once", _FLIPS, Acts.WEIGHTS),
}


def deliver(sequence: Frames, delivery: Delivery) -> Frames:
    """Take the frames of a delivery out of a sequence.

    Args:
        sequence: [steps, ...] by input; float values or token ids.

    Returns:
        [delivered, ...] by input, of the same dtype.
    """
    low = np.floor(delivery.positions).astype(np.int64)
    share = delivery.positions - low
    taken: Frames = {}
    for name, values in sequence.items():
        high = np.minimum(low + 1, len(values) - 1)
        if np.issubdtype(values.dtype, np.integer):
            taken[name] = values[np.where(share < 0.5, low, high)]
        else:
            weight = share.reshape(-1, *[1] * (values.ndim - 1))
            mixed = values[low] * (1 - weight) + values[high] * weight
            taken[name] = mixed.astype(values.dtype)
    return taken
