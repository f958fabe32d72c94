"""Say in a sentence which of a run's models to take, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convert.scheme_choice import choose
from models.confidence import NO_DIFFERENCE, score_interval
from pipeline.all_stages import Outcome
from pipeline.differences import compare
from pipeline.networks import models_by_file
from pipeline.table import Row, tried_for


@dataclass(frozen=True)
class Answer:
    """The model to take.

    Attributes:
        row: of the table.
        sentence: which, with its figures.
        reason: why this one.
    """

    row: Row
    sentence: str
    reason: str


def answer(rows: Sequence[Row], outcome: Outcome) -> Answer | None:
    """Choose by the validation data, and say what the test data shows; None if no model can be
    chosen.

    Among the schemes of each network that are recommended for the recipe's first target, the
    smallest file is taken whose validation score is within one standard error of the best. (Breiman
    et al., "Classification and Regression Trees", 1984, section 3.4.3.)
    """
    candidates = [row for row in _recommended(rows, outcome.recipe.targets[0]) if row.valid]
    if not candidates:
        return None
    best = min(candidates, key=_lost)
    margin = _standard_error(best)
    near = [row for row in candidates if _lost(row) <= _lost(best) + margin]
    chosen = min(near, key=lambda row: (row.file_bytes, _lost(row)))
    metric = chosen.metric
    if chosen is best:
        reason = f"no other has a better validation {metric.name}"
        if len(near) > 1:
            reason += ", and those as good are larger"
    else:
        reason = (
            f"its validation {metric.name} is within one standard error of the best, that of "
            f"{best.model} {best.scheme} ({best.file_bytes:,} bytes), and no other such file is "
            "smaller"
        )
    return Answer(chosen, _sentence(chosen, rows, outcome), reason)


def _recommended(rows: Sequence[Row], target: str) -> list[Row]:
    """The row of each model in the scheme that is chosen for a target."""
    found = []
    for model in dict.fromkeys(row.model for row in rows):
        exported = {row.scheme: row for row in rows if row.model == model}
        tried = tried_for(target, exported)
        if tried:
            found.append(exported[choose(target, tried).scheme])
    return found


def _lost(row: Row) -> float:
    """The validation score, lower is better."""
    score = row.metrics.validation_score
    return float("inf") if score is None else row.metric.lost(score, 0)


def _standard_error(row: Row) -> float:
    """Of a share over the validation sequences, 0 of other metrics."""
    score, count = row.metrics.validation_score, row.metrics.validation_sequences
    if not row.metric.is_share or score is None or not count:
        return 0.0
    return float(np.sqrt(max(score * (1 - score), 0.0) / count))


def _sentence(row: Row, rows: Sequence[Row], outcome: Outcome) -> str:
    metric = row.metric
    deadline = outcome.task.frame_period_s * 1e3
    percentile = f"p99 {row.p99:.3g} us" if row.p99 is not None else f"p50 {row.p50:.3g} us"
    frame = f" and {row.front_end:.3g} us a frame before it" if row.front_end else ""
    parts = [
        f"{row.model} {row.scheme}",
        f"{metric.name} {metric.text(row.score)}{_interval(row, outcome)}",
        f"{row.file_bytes / 1000:,.3g} kB",
        f"{percentile} a step{frame} on {outcome.results[0]['machine']['model']}",
        f"deadline {deadline:g} ms",
    ]
    return ", ".join(parts) + _half_the_size(row, rows, outcome)


def _interval(row: Row, outcome: Outcome) -> str:
    """The score's interval over the test sequences and seeds, where they are kept."""
    files = [
        file
        for file, variant in models_by_file(outcome.recipe).items()
        if variant == (row.model, row.scheme) and file in outcome.items
    ]
    if not files:
        return ""
    low, high = score_interval([outcome.items[file] for file in files])
    return f" ({row.metric.text(low)} to {row.metric.text(high)} in 95 %)"


def _half_the_size(row: Row, rows: Sequence[Row], outcome: Outcome) -> str:
    """What the best variant of at most half the bytes has instead, with the interval of the
    difference where the scores of the test sequences are kept."""
    smaller = [other for other in rows if 2 * other.file_bytes <= row.file_bytes and other.valid]
    if not smaller:
        return ""
    other = min(smaller, key=_lost)
    metric = row.metric
    unit = "points" if metric.is_share else metric.unit
    sides = (other.model, other.scheme), (row.model, row.scheme)
    difference = compare(outcome.recipe, outcome.items, *sides)
    if difference is None:
        change = f"{metric.shown(other.score) - metric.shown(row.score):+.2g} {unit}".rstrip()
    else:
        change = f"{difference.interval(metric)} {unit}".rstrip()
        if difference.holds_zero:
            change += f", {NO_DIFFERENCE}"
    named = f"{other.model} {other.scheme}, {other.file_bytes / 1000:,.3g} kB"
    return f"; half the size ({named}) changes the {metric.name} by {change}"
