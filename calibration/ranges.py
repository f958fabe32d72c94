"""Collect ranges of tensors: true minimum and maximum, percentiles, and a histogram."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

FORMAT_VERSION = 3
# Number of bins of the collected histogram, and of the coarser saved one.
COLLECTED_BINS = 4096
SAVED_BINS = 1024
# A state that holds the largest value so far begins with this, float32's lowest value.
NOTHING_YET = float(np.finfo(np.float32).min)
PERCENTILES = (0.01, 0.1, 1.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True)
class TensorRange:
    """The range of values that a tensor took.

    Attributes:
        role: "input", "output", "state" or "activation".
        minimum, maximum: the true extremes.
        percentiles: percentile (as text, "99.9") to value, from the collected histogram.
        histogram: counts of SAVED_BINS equal bins over [histogram_low, histogram_high].
    """

    role: str
    minimum: float
    maximum: float
    percentiles: dict[str, float]
    histogram_low: float
    histogram_high: float
    histogram: list[int]

    @property
    def spread(self) -> float:
        """Largest minus smallest value."""
        return self.maximum - self.minimum


@dataclass(frozen=True)
class Ranges:
    """Ranges of all tensors of a float step model, by tensor name.

    Attributes:
        steps: number of time steps rolled out.
        longest_stream: most steps without a reset of the state.
        states: state name to the names of its in and out tensors.
        moments: second moments of the factors of matrix products, by tensor name: the mean of the
            outer product of (values, 1) with itself, [n + 1, n + 1].
    """

    steps: int
    longest_stream: int
    states: dict[str, tuple[str, str]]
    tensors: dict[str, TensorRange]
    moments: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    magnitudes: dict[str, float] = field(default_factory=dict)

    def state_magnitude(self, state: str) -> float:
        """Return the largest magnitude that a state took, in or out."""
        return max(
            max(-self.tensors[name].minimum, self.tensors[name].maximum)
            for name in self.states[state]
        )

    def save(self, path: Path) -> None:
        """Write the ranges as JSON."""
        facts = {"format_version": FORMAT_VERSION, **asdict(self)}
        facts["moments"] = {name: _to_text(moment) for name, moment in self.moments.items()}
        path.write_text(json.dumps(facts, separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> Ranges:
        """Read what :meth:`save` wrote; CalibrationError if it is missing or malformed."""
        try:
            raw = json.loads(path.read_text())
            if raw.pop("format_version") != FORMAT_VERSION:
                raise ValueError("another format version")
            return cls(
                steps=raw["steps"],
                longest_stream=raw["longest_stream"],
                states={name: tuple(pair) for name, pair in raw["states"].items()},
                tensors={name: TensorRange(**item) for name, item in raw["tensors"].items()},
                moments={name: _from_text(text) for name, text in raw["moments"].items()},
                magnitudes=raw["magnitudes"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(
                f"{path}: no calibration ranges there ({error}); calibrate again"
            ) from error


def _to_text(moment: NDArray[Any]) -> str:
    return base64.b64encode(moment.astype("<f4").tobytes()).decode()


def _from_text(text: str) -> NDArray[Any]:
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
    side = math.isqrt(len(values))
    return values.reshape(side, side)


class MomentCollector:
    """Sums the outer products of (values, 1) with itself; values are a tensor's last axis."""

    def __init__(self) -> None:
        self.total: NDArray[Any] | float = 0.0
        self.count = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add values [..., n]."""
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        rows = np.column_stack([rows, np.ones(len(rows))])
        self.total = self.total + rows.T @ rows
        self.count += len(rows)

    def result(self) -> NDArray[Any]:
        """Return the mean, [n + 1, n + 1]."""
        return np.asarray(self.total) / self.count


class RangeCollector:
    """Collects one tensor's values in one pass and bounded memory.

    The histogram covers [-limit, limit]; a value outside doubles the limit and merges bins in
    pairs, so no value is ever dropped and the bins stay equal.
    """

    def __init__(self) -> None:
        self.minimum = math.inf
        self.maximum = -math.inf
        self.limit = 2.0**-10
        self.counts = np.zeros(COLLECTED_BINS, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Add values of any shape.

        Raises:
            CalibrationError: a value is NaN or infinite.
        """
        if values.min() == NOTHING_YET:
            # It stands for no value, so it has no part in the range.
            values = values[values > NOTHING_YET]
            if not values.size:
                values = np.zeros(1, values.dtype)
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError(
                "the float model itself computes NaN or infinity on this data; "
                "check the data and train again"
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        while max(-low, high) >= self.limit:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts[:] = 0
            quarter = COLLECTED_BINS // 4
            self.counts[quarter : 3 * quarter] = merged
            self.limit *= 2
        positions = (values.ravel() + self.limit) * (COLLECTED_BINS / (2 * self.limit))
        self.counts += np.bincount(positions.astype(np.int64), minlength=COLLECTED_BINS)[
            :COLLECTED_BINS
        ]

    def percentile(self, percentile: float) -> float:
        """Return the value below which ``percentile`` percent lie, to within one collected bin."""
        cumulative = np.cumsum(self.counts)
        index = int(np.searchsorted(cumulative, percentile / 100 * cumulative[-1]))
        width = 2 * self.limit / COLLECTED_BINS
        edge = -self.limit + (index + (percentile > 50)) * width
        return float(np.clip(edge, self.minimum, self.maximum))

    def result(self, role: str) -> TensorRange:
        """Return the collected range."""
        saved = self.counts.reshape(SAVED_BINS, -1).sum(1)
        return TensorRange(
            role=role,
            minimum=self.minimum,
            maximum=self.maximum,
            percentiles={f"{p:g}": self.percentile(p) for p in PERCENTILES},
            histogram_low=-self.limit,
            histogram_high=self.limit,
            histogram=[int(count) for count in saved],
        )
