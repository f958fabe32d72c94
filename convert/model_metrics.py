"""How good a step model is, as its contract's ``metrics`` say it: read into types.

On disk the metrics are one JSON object whose keys depend on the task's metric ("accuracy",
"float_accuracy", "accuracy_by_speaker"), next to facts that training and compression add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from models.metrics import MetricDescription, described


@dataclass(frozen=True)
class Drift:
    """How far a quantized model strays from the float one without resetting the state.

    Attributes:
        steps: how many steps it was stepped.
        rms, rms_first_tenth, rms_last_tenth, max_abs: errors of the outputs as shares of the float
            outputs' spread.
        argmax_agreement: share of equal decisions, in [0, 1].
        rms_by_part: rms as above, of equal parts of the stream in order; empty in older files.
    """

    steps: int
    rms: float
    rms_first_tenth: float = 0.0
    rms_last_tenth: float = 0.0
    max_abs: float = 0.0
    argmax_agreement: float = 1.0
    rms_by_part: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write it as in a contract."""
        return asdict(self)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Drift:
        """Read what :meth:`to_json` wrote; other entries are left out."""
        names = {item.name for item in fields(cls)}
        known = {name: value for name, value in raw.items() if name in names}
        return cls(**{**known, "rms_by_part": tuple(known.get("rms_by_part", ()))})


@dataclass(frozen=True)
class ModelMetrics:
    """How good a step model is on its task's test data.

    Attributes:
        metric: what it is judged by.
        score: the metric of the step model.
        float_score: the metric of the float network; None if it was not measured.
        validation_score, float_validation_score: the same two on the validation data, by which
            schemes are chosen; None in files older than these entries and for imported models.
        validation_sequences: how many sequences the validation data has.
        by_group: the metric by group of the test data ("speaker 3"); empty if there are no groups.
        drift: over a long stream; None for a float model.
        multiply_adds: of one step; None in files older than this entry.
        seconds_per_epoch: of training; None for an imported model.
        sparsity: share of zeros by matrix; empty if nothing was pruned.
    """

    metric: MetricDescription
    score: float
    float_score: float | None = None
    validation_score: float | None = None
    float_validation_score: float | None = None
    validation_sequences: int = 0
    by_group: dict[str, float] = field(default_factory=dict)
    drift: Drift | None = None
    multiply_adds: int | None = None
    seconds_per_epoch: float | None = None
    sparsity: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> ModelMetrics:
        """Read the ``metrics`` of a contract or of a benchmark's result.

        Raises:
            KeyError: they do not hold the metric that they are about.

        Example:
            >>> metrics = ModelMetrics.read({"accuracy": 0.97, "float_accuracy": 0.98})
            >>> metrics.metric.lost(metrics.score, metrics.float_score) < 0.02
            True
        """
        metric = described(dict(raw))
        groups = (value for name, value in raw.items() if name.startswith(f"{metric.key}_by_"))
        return cls(
            metric=metric,
            score=_number(raw[metric.key]),
            float_score=raw.get(f"float_{metric.key}"),
            validation_score=_known(raw, f"validation_{metric.key}"),
            float_validation_score=_known(raw, f"float_validation_{metric.key}"),
            validation_sequences=int(raw.get("validation_sequences") or 0),
            by_group=dict(next(groups, {})),
            drift=Drift.read(raw["drift"]) if raw.get("drift") else None,
            multiply_adds=raw.get("multiply_adds"),
            seconds_per_epoch=raw.get("seconds_per_epoch"),
            sparsity=dict(raw.get("sparsity_reached") or {}),
        )


def _number(value: float | None) -> float:
    """Null stands for a score that is not a number."""
    return math.nan if value is None else value


def _known(raw: Mapping[str, Any], name: str) -> float | None:
    return _number(raw[name]) if name in raw else None
