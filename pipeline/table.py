"""Make the one table: what each model costs and what it is worth, over all seeds."""

from __future__ import annotations

import gzip
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from convert.model_metrics import ModelMetrics
from convert.scheme_choice import Choice, candidates, choose, refusal
from device_runner.backends import steps_in_one_call
from device_runner.printable import without_controls
from models.metrics import MetricDescription
from pipeline.all_stages import Outcome
from pipeline.differences import Compared, differences
from pipeline.networks import models_by_file
from pipeline.stages.verify import RuntimeAnswer

# A step counts as faster than another if it takes less than this share of the other's time.
FASTER = 0.95


@dataclass(frozen=True)
class Row:
    """One model in one scheme.

    ``front_end`` is what it costs to make a frame from sound, before the step; None if the model
    reads no sound. Scores are values of ``metric``, medians over the seeds. Latencies are medians
    over the seeds' files in microseconds, None if there were too few samples. ``overhead`` is the
    whole step in bare invokes, None if the backend has none: it steps in one call."""

    model: str
    scheme: str
    seeds: int
    parameters: int
    file_bytes: int
    gzip_bytes: int
    metric: MetricDescription
    score: float
    score_range: tuple[float, float]
    score_by_group: dict[str, float]
    drift: float | None
    front_end: float | None
    p50: float
    p99: float | None
    p999: float | None
    maximum: float
    invoke: float
    overhead: float | None
    headroom: float
    runtimes: dict[str, str]
    sparsity: float | None
    metrics: ModelMetrics
    valid: bool

    def dominated_by(self, other: Row) -> bool:
        """Tell whether the other is nowhere worse and somewhere better in score, bytes and p50."""
        mine = (self.metric.lost(self.score, 0), self.file_bytes, self.p50)
        theirs = (self.metric.lost(other.score, 0), other.file_bytes, other.p50)
        return theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))


def pareto_front(rows: list[Row]) -> list[Row]:
    """Return the rows that no other row dominates."""
    return [row for row in rows if not any(row.dominated_by(other) for other in rows)]


def make_rows(outcome: Outcome) -> list[Row]:
    """Make one row per model and scheme, in the recipe's order."""
    order = models_by_file(outcome.recipe)
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in outcome.results:
        grouped[order[result["file"]]].append(result)
    runtimes: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for answer in outcome.verification:
        seen = runtimes[order[answer.file]]
        if seen.get(answer.backend, "ok") == "ok":
            seen[answer.backend] = answer.failure or _not_taken(answer) or "ok"
    return [
        _row(model, scheme, grouped[model, scheme], runtimes[model, scheme], outcome.folder)
        for model, scheme in dict.fromkeys(order.values())
        if (model, scheme) in grouped
    ]


_NOT_TAKEN = "does not take it: "


def _not_taken(answer: RuntimeAnswer) -> str:
    return _NOT_TAKEN + answer.unsupported if answer.unsupported else ""


def _row(
    model: str,
    scheme: str,
    results: list[dict[str, Any]],
    runtimes: dict[str, str],
    folder: Path,
) -> Row:
    def median(*path: str) -> Any:
        return _median(results, *path)

    def microseconds(*path: str) -> Any:
        return _microseconds_of(median("latency_ns", *path))

    by_seed = [ModelMetrics.read(result["metrics"]) for result in results]
    metrics = _medians(by_seed)
    scores = [seed.score for seed in by_seed]
    step = microseconds("step", "percentiles", "p50")
    invoke = microseconds("invoke", "percentiles", "p50")
    packed = [len(gzip.compress((folder / result["file"]).read_bytes())) for result in results]
    return Row(
        model=model,
        scheme=scheme,
        seeds=len(results),
        parameters=results[0]["parameters"],
        file_bytes=round(median("file_bytes")),
        gzip_bytes=round(statistics.median(packed)),
        metric=metrics.metric,
        score=metrics.score,
        score_range=(min(scores), max(scores)),
        score_by_group=metrics.by_group,
        drift=metrics.drift.rms if metrics.drift else None,
        front_end=_microseconds_of(_median(results, "front_end_ns", "percentiles", "p50")),
        p50=step,
        p99=microseconds("step", "percentiles", "p99"),
        p999=microseconds("step", "percentiles", "p99.9"),
        maximum=microseconds("step", "maximum"),
        invoke=invoke,
        overhead=None if steps_in_one_call(results[0]["backend"]) else step / invoke,
        headroom=median("latency_ns", "headroom"),
        runtimes=runtimes,
        sparsity=statistics.mean(metrics.sparsity.values()) if metrics.sparsity else None,
        metrics=metrics,
        valid=all(result["valid"] for result in results),
    )


def _median(results: list[dict[str, Any]], *path: str) -> Any:
    """Return the median of the values at ``path`` in results; None if no result has one."""
    values = [_dig(result, path) for result in results]
    return _median_of(values)


def _medians(seeds: list[ModelMetrics]) -> ModelMetrics:
    """Return the medians over networks that differ in their seed; the rest is the first one's."""
    first = seeds[0]
    drifts = [seed.drift for seed in seeds if seed.drift]
    by_group: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        for group, score in seed.by_group.items():
            by_group[group].append(score)
    return replace(
        first,
        score=statistics.median(seed.score for seed in seeds),
        float_score=_median_of(seed.float_score for seed in seeds),
        validation_score=_median_of(seed.validation_score for seed in seeds),
        float_validation_score=_median_of(seed.float_validation_score for seed in seeds),
        by_group={group: statistics.median(scores) for group, scores in by_group.items()},
        drift=replace(
            drifts[0],
            rms=statistics.median(drift.rms for drift in drifts),
            argmax_agreement=statistics.median(drift.argmax_agreement for drift in drifts),
        )
        if drifts
        else None,
    )


def _microseconds_of(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e3


def _median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _dig(facts: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(facts, dict) or key not in facts:
            return None
        facts = facts[key]
    return facts


def print_table(rows: list[Row], outcome: Outcome, console: Console) -> None:
    """Print the table in a terminal."""
    table = Table(title=title(outcome), title_justify="left", pad_edge=False, box=None)
    for column in ("model", "scheme"):
        table.add_column(column, no_wrap=True)
    score = rows[0].metric.name if rows else "score"
    before = ("frame",) if any(row.front_end for row in rows) else ()
    for column in ("bytes", "gzip", score, *before, "p50", "p99", "p99.9", "x invoke", "headroom"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.model,
            row.scheme + ("" if row.valid else " INVALID"),
            f"{row.file_bytes:,}",
            f"{row.gzip_bytes:,}",
            row.metric.text(row.score),
            *((_optional(row.front_end),) if before else ()),
            f"{row.p50:.2f}",
            _optional(row.p99),
            _optional(row.p999),
            _optional(row.overhead),
            f"{row.headroom:,.0f}x",
        )
    console.print(table)
    found = compared(outcome)
    if found:
        console.print("differences, with 95 % intervals:", highlight=False)
        for one in found:
            line = f"  {_difference_line(one, outcome.task.metric)}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in remarks(rows, outcome):
        console.print(without_controls(line), highlight=False, markup=False)


def compared(outcome: Outcome) -> list[Compared]:
    """Compare what differs in one thing, each with its interval."""
    return differences(outcome.recipe, outcome.items)


def _difference_line(one: Compared, metric: MetricDescription) -> str:
    difference = one.difference.text(metric)
    return f"{one.why}: {' '.join(one.variant)} against {' '.join(one.against)}: {difference}"


def title(outcome: Outcome) -> str:
    """Say in one line what the table is about."""
    first = outcome.results[0]
    return (
        f"{outcome.recipe.task} on {first['machine']['model']}, "
        f"{first['backend']} {first['backend_version']}, "
        f"{first['settings']['threads']} thread"
    )


def remarks(rows: list[Row], outcome: Outcome) -> list[str]:
    """List what a reader must know besides the numbers, one sentence per line."""
    task, first = outcome.task, outcome.results[0]
    metric = task.metric
    seeds = len(outcome.recipe.seeds)
    found = ", ".join(f"{one.name} {metric.text(one.value)}" for one in task.baselines)
    lines = [
        f"{metric.name}: test data ({task.sequences[2]} sequences, {task.outputs})"
        + (f", {metric.meaning}" if metric.meaning else "")
        + ("" if metric.higher_is_better else "; lower is better")
        + (f"; median of {seeds} seeds" if seeds > 1 else ""),
        f"baselines: {found}",
        *(f"data: {remark}" for remark in task.remarks),
        f"latency: one whole step, microseconds; headroom: frame period "
        f"({task.frame_period_s * 1e3:g} ms) / p99.9; x invoke: whole step / bare invoke"
        + (
            f", - on {first['backend']}, whose invoke is the step"
            * steps_in_one_call(first["backend"])
        ),
    ]
    if any(row.front_end for row in rows):
        lines.append(
            "frame: what the front end takes to make a frame from sound, p50, before each step; "
            "latency and headroom leave it out"
        )
    passed = [
        runtime
        for runtime in dict.fromkeys(name for row in rows for name in row.runtimes)
        if all(row.runtimes.get(runtime) == "ok" for row in rows)
    ]
    lines.append(f"golden sequences: every model is right on {', '.join(passed) or 'no runtime'}")
    refused: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        for runtime, answer in row.runtimes.items():
            if answer != "ok":
                refused[row.scheme, runtime].append((row.model, answer))
    for (scheme, runtime), cases in refused.items():
        models = ", ".join(model for model, _ in cases)
        answer = cases[0][1]
        if answer.startswith(_NOT_TAKEN):
            reason = answer.removeprefix(_NOT_TAKEN)
            lines.append(f"{runtime} does not take {scheme} of {models}: {reason}")
        else:
            lines.append(f"{scheme} fails on {runtime} for {models}: {answer}")
    lines += recommendations(rows, outcome.recipe.targets)
    lines += [f"warning: {warning}" for warning in first["warnings"]]
    return lines


def recommendations(rows: list[Row], targets: list[str]) -> list[str]:
    """Say which scheme to take for each target, and why; similar models share a line.

    What is cheap on a target is known for most of its devices. If another correct scheme was faster
    on this machine's CPU, that is said too."""
    chosen_for: dict[tuple[str, Choice], list[str]] = defaultdict(list)
    faster_here: dict[tuple[str, str], list[str]] = defaultdict(list)
    for target in targets:
        for model in dict.fromkeys(row.model for row in rows):
            exported = {row.scheme: row for row in rows if row.model == model}
            tried = tried_for(target, exported)
            if not tried:
                continue
            choice = choose(target, tried)
            chosen_for[target, choice].append(model)
            right = [exported[scheme] for scheme, problem in tried.items() if not problem]
            chosen = exported[choice.scheme]
            fastest = min(right, key=lambda row: row.p50, default=chosen)
            if target == "cpu" and fastest.p50 < FASTER * chosen.p50:
                faster_here[fastest.scheme, chosen.scheme].append(
                    f"{model} ({fastest.p50:.2f} against {chosen.p50:.2f} us)"
                )
    lines = [
        f"{target}: {choice.scheme} for {', '.join(models)} ({choice.reason})"
        for (target, choice), models in chosen_for.items()
    ]
    return lines + [
        f"on this machine's CPU {fastest} is faster than {chosen} for {', '.join(models)}"
        for (fastest, chosen), models in faster_here.items()
    ]


def tried_for(target: str, exported: Mapping[str, Row]) -> dict[str, str | None]:
    """Say of each exported scheme that a target can run why it is refused, the cheapest first.

    Args:
        exported: a model's rows by scheme.
    """
    return {
        scheme: refusal(exported[scheme].metrics)
        for scheme in map(str, candidates(target))
        if scheme in exported
    }


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
