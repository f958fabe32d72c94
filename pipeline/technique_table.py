"""Write docs/techniques.md: what each cell and technique costs and buys, from finished runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import Field

from convert.model_metrics import ModelMetrics
from device_runner.errors import one_line
from models.item_scores import ItemScores
from models.metrics import MetricDescription
from pipeline.differences import compare, differences
from pipeline.earlier_techniques import EarlierDocument
from pipeline.errors import PipelineError
from pipeline.files import read_json, read_json_lines
from pipeline.networks import models_by_file
from pipeline.recipe import Recipe, load_recipe
from pipeline.stages.bench import RESULTS_FILE
from pipeline.stages.convert import ITEMS_FILE, load_items
from pipeline.toml_settings import Section, read_toml

# What reading a result raises that was edited or cut.
_OF_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
TECHNIQUES_FILE = Path(__file__).with_name("techniques.toml")
# Where benchmarks write a line per record.
FINDINGS_FOLDER = "benchmarks"
NOT_MEASURED = "not measured here yet"
COLUMNS = (
    "technique",
    "measured on",
    "bytes",
    "p50",
    "score; difference",
    "against longer training",
    "measured by",
)
# Lines of the document.
INTRODUCTION = (
    "Figures are medians over the seeds. p50 and p99 are of one whole step in",
    "microseconds, back to back, with all models of a recipe in one interleaved run. If a",
    "slow recurrence is stepped only every few steps (`every` in the name), p50 is of the",
    "steps in between. Multiply-adds are those of the matrix products in an average step.",
    "They leave out element-wise products, such as those of gates and of an attention's",
    "scores. Seconds are of one epoch of training.",
)
EXPLANATION = (
    "Each technique is compared with a model without it, in one interleaved run. The",
    "difference of the scores is the mean over the seeds, with a 95 % interval: a paired",
    "bootstrap over test sequences and seeds. *Against longer training* compares with the",
    "same network trained for as many more epochs as the technique trains it. A date",
    "behind a name: not measured with the others, but kept from the page of that day.",
)


class Variant(Section):
    """A model of a recipe in one scheme."""

    model: str
    scheme: str


class Comparison(Section):
    """[[techniques]] with a recipe: ``variant`` has the technique, ``against`` does not."""

    name: str
    recipe: str
    variant: Variant
    against: Variant


class Finding(Section):
    """[[techniques]] with a benchmark, whose own words for cost and benefit go into the table."""

    name: str
    benchmark: str


class Techniques(Section):
    """pipeline/techniques.toml: every technique and what measures it, in the table's order."""

    cells: list[str] = Field(min_length=1)
    techniques: list[Comparison | Finding]


@dataclass(frozen=True)
class Measured:
    """A model in one scheme, medians over the seeds; times in microseconds, seconds an epoch."""

    model: str
    scheme: str
    parameters: int
    multiply_adds: int
    seconds_per_epoch: float
    metric: MetricDescription
    score: float
    file_bytes: int
    p50: float
    p99: float


def load_techniques(path: Path = TECHNIQUES_FILE) -> Techniques:
    """Read the list of techniques."""
    return Techniques.model_validate(read_toml(path, PipelineError))


def measured(recipe: Recipe, runs_dir: Path) -> dict[tuple[str, str], Measured]:
    """Return what a recipe's finished run measured, by model and scheme; empty if not run."""
    path = runs_dir / recipe.name / RESULTS_FILE
    if not path.exists():
        return {}
    names = models_by_file(recipe)
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in read_json_lines(path):
        file = str(result.get("file"))
        if file not in names:
            raise PipelineError(
                f"{path}: holds {file[:100]!r}, which is not of the recipe as it stands; "
                "run the recipe again"
            )
        grouped[names[file]].append(result)
    try:
        return {key: _measured(*key, grouped[key]) for key in names.values() if key in grouped}
    except _OF_DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> PipelineError:
    return PipelineError(
        f"{path}: a result is damaged ({type(error).__name__}: {one_line(error)}); "
        "run the recipe again"
    )


def _measured(model: str, scheme: str, results: list[dict[str, Any]]) -> Measured:
    metrics = [ModelMetrics.read(result["metrics"]) for result in results]

    def median(pick: Any) -> Any:
        return statistics.median(pick(result) for result in results)

    def step_time(percentile: str) -> float:
        return float(median(lambda one: one["latency_ns"]["step"]["percentiles"][percentile])) / 1e3

    return Measured(
        model=model,
        scheme=scheme,
        # Converted here, where what is of another kind can still be told.
        parameters=int(results[0]["parameters"]),
        multiply_adds=int(metrics[0].multiply_adds or 0),
        seconds_per_epoch=statistics.median(float(one.seconds_per_epoch or 0) for one in metrics),
        metric=metrics[0].metric,
        score=statistics.median(float(one.score) for one in metrics),
        file_bytes=round(float(median(lambda one: one["file_bytes"]))),
        p50=step_time("p50"),
        p99=step_time("p99"),
    )


def technique_document(
    techniques: Techniques, runs_dir: Path, earlier: EarlierDocument | None = None
) -> str:
    """Write the whole document as Markdown.

    Args:
        runs_dir: where the recipes' runs and the benchmarks' records are.
        earlier: the document as it stands; what was not run here is kept from it, with its date.

    Raises:
        PipelineError: none of the recipes was run.
    """
    earlier = earlier or EarlierDocument()
    tables, machines = [], set()
    for path in techniques.cells:
        recipe = load_recipe(Path(path))
        found = measured(recipe, runs_dir)
        kept = None if found else earlier.section(_title(path, recipe))
        tables.append(kept or _cell_table(path, recipe, found, runs_dir))
        machines |= _machines(recipe, runs_dir)
    for item in techniques.techniques:
        if isinstance(item, Comparison):
            machines |= _machines(load_recipe(Path(item.recipe)), runs_dir)
    if not machines:
        raise PipelineError(
            "none of the recipes was run here; begin with "
            f"'edgestep run {techniques.cells[0]}' (pipeline/techniques.toml lists all)"
        )
    rows = []
    for item in techniques.techniques:
        row = _technique_row(item, runs_dir)
        if NOT_MEASURED in row:
            row = earlier.row(item.name, len(COLUMNS), NOT_MEASURED) or row
        rows.append(row)
    today = datetime.now(timezone.utc).date().isoformat()
    return "\n".join(
        [
            "# Cells and techniques, measured",
            "",
            f"Made on {today} by `edgestep techniques` from finished runs; do not edit it by hand.",
            *(f"Machine: {machine}." for machine in sorted(machines)),
            "",
            *INTRODUCTION,
            "",
            *tables,
            "## What each technique buys and costs",
            "",
            *EXPLANATION,
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *rows,
            "",
        ]
    )


def _machines(recipe: Recipe, runs_dir: Path) -> set[str]:
    path = runs_dir / recipe.name / RESULTS_FILE
    try:
        return {
            f"{one['machine']['model']} ({one['machine']['cpu']}, {one['machine']['cores']} cores, "
            f"{one['machine']['system']}), {one['backend']} {one['backend_version']}, "
            f"{one['settings']['threads']} thread"
            for one in (read_json_lines(path) if path.exists() else ())
        }
    except _OF_DAMAGE as error:
        raise _damaged(path, error) from error


def _title(path: str, recipe: Recipe) -> str:
    return f"## {recipe.task}: `edgestep run {path}`"


def _cell_table(
    path: str, recipe: Recipe, found: dict[tuple[str, str], Measured], runs_dir: Path
) -> str:
    title = [_title(path, recipe), ""]
    if not found:
        return "\n".join([*title, f"{NOT_MEASURED.capitalize()}.", ""])
    metric = next(iter(found.values())).metric
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    columns = ["model", "parameters", "multiply-adds", "s / epoch"]
    columns += [f"{metric.name}, {scheme}" for scheme in recipe.schemes]
    columns += [
        f"{what}, {scheme}" for scheme in recipe.schemes for what in ("bytes", "p50", "p99")
    ]
    of = f"{len(recipe.seeds)} seed{'s' if len(recipe.seeds) > 1 else ''}"
    items = load_items(runs_dir / recipe.name / ITEMS_FILE)
    if items:
        of += f", {len(next(iter(items.values()))):,} test sequences"
    lines = [f"{metric.name}: {direction}; {of}.{_front_end(recipe, runs_dir)}", ""]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for section in recipe.models:
        rows = [found.get((section.label, str(scheme))) for scheme in recipe.schemes]
        known = next((row for row in rows if row), None)
        if known is None:
            continue
        cells = [
            known.model,
            f"{known.parameters:,}",
            f"{known.multiply_adds:,}",
            f"{known.seconds_per_epoch:.2f}",
        ]
        cells += [metric.text(row.score) if row else "-" for row in rows]
        for row in rows:
            cells += (
                [f"{row.file_bytes:,}", f"{row.p50:.2f}", f"{row.p99:.2f}"] if row else ["-"] * 3
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*title, *lines, ""])


def _front_end(recipe: Recipe, runs_dir: Path) -> str:
    """Say what a frame costs before the step, if it is made from sound."""
    path = runs_dir / recipe.name / RESULTS_FILE
    known = [one["front_end_ns"] for one in read_json_lines(path) if one.get("front_end_ns")]
    if not known:
        return ""
    median = statistics.median(one["percentiles"]["p50"] for one in known) / 1e3
    return f" The front end takes {median:.1f} microseconds a frame before each step (p50)."


def _technique_row(item: Comparison | Finding, runs_dir: Path) -> str:
    if isinstance(item, Finding):
        command = f"`python {item.benchmark}`"
        path = runs_dir / FINDINGS_FOLDER / Path(item.benchmark).with_suffix(".json").name
        if not path.exists():
            return f"| {item.name} | {NOT_MEASURED} | | | | | {command} |"
        record = read_json(path)
        cells = [str(record.get(column, "")) for column in ("case", "bytes", "p50", "score")]
        return f"| {item.name} | {' | '.join(cells)} |  | {command} |"
    recipe = load_recipe(Path(item.recipe))
    command = f"`edgestep run {item.recipe}`"
    found = measured(recipe, runs_dir)
    new, old = (found.get((side.model, side.scheme)) for side in (item.variant, item.against))
    if new is None or old is None:
        return f"| {item.name} | {NOT_MEASURED} | | | | | {command} |"
    case = f"{recipe.task}: {new.model} `{new.scheme}` against {old.model} `{old.scheme}`"
    items = load_items(runs_dir / recipe.name / ITEMS_FILE)
    sides = (new.model, new.scheme), (old.model, old.scheme)
    found_difference = compare(recipe, items, *sides)
    score = new.metric.text(new.score)
    if found_difference is not None:
        score += f"; {found_difference.text(new.metric)}"
    return (
        f"| {item.name} | {case} | {new.file_bytes / old.file_bytes:.2f} x | "
        f"{new.p50 / old.p50:.2f} x | {score} | {_against_longer(recipe, items, new)} | "
        f"{command} |"
    )


def _against_longer(recipe: Recipe, items: Mapping[str, ItemScores], new: Measured) -> str:
    """Compare with the network trained for as many more epochs, if the recipe has one."""
    for one in differences(recipe, items):
        if one.variant == (new.model, new.scheme) and "against longer training" in one.why:
            return one.difference.text(new.metric)
    return ""
