"""Write the report of a run: one self-contained HTML file with tables and pictures."""

from __future__ import annotations

import shlex
import statistics
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from device_runner.atomic_write import write_atomically
from device_runner.model.step_file import load_step_model
from models.metrics import MetricDescription
from pipeline import report_charts as charts
from pipeline.all_stages import Outcome
from pipeline.differences import Compared
from pipeline.measured import read_measured
from pipeline.measured_part import measured_part
from pipeline.networks import models_by_file
from pipeline.report_answer import Answer, answer
from pipeline.robustness.page import robustness_part
from pipeline.spoken import spoken
from pipeline.stages.calibrate import StateRange, load_state_ranges
from pipeline.stages.history import NetworkHistory
from pipeline.table import compared, make_rows, pareto_front, remarks, title
from pipeline.vega import library

REPORT_FILE = "report.html"
TEMPLATE_FILE = "report.html.jinja"


def write_report(outcome: Outcome, recipe: Path) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        recipe: the recipe's file, for the commands on the page.
    """
    rows = make_rows(outcome)
    histories = load_histories(outcome)
    states = {label: load_state_ranges(stage) for label, stage in outcome.calibrated.items()}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    found = answer(rows, outcome)
    html = environment.get_template(TEMPLATE_FILE).render(
        answer=found,
        commands=_commands(outcome, recipe),
        library=library(),
        title=title(outcome),
        recipe=outcome.recipe,
        task=outcome.task,
        metric=outcome.task.metric,
        rows=rows,
        remarks=remarks(rows, outcome),
        first=outcome.results[0],
        training=[_training_facts(label, history) for label, history in histories.items()],
        states=[_state_facts(label, one) for label, found in states.items() for one in found],
        tradeoff=charts.tradeoff(rows, outcome.task.frame_period_s),
        pareto=pareto_front(rows),
        differences=[_difference_facts(one, outcome.task.metric) for one in compared(outcome)],
        spoken=spoken(outcome.files),
        latencies=charts.latencies(outcome.results),
        measured=measured_part(*read_measured(outcome.folder, _names(outcome, found))),
        errors=charts.errors_through_time(rows),
        confusion=_confusion(outcome, found),
        curves=charts.training_curves(histories),
        gradients=charts.gradient_norms(histories),
        robustness=robustness_part(outcome.studies) if outcome.studies else "",
    )
    path = outcome.folder / REPORT_FILE
    write_atomically(path, html.encode())
    return path


def _names(outcome: Outcome, found: Answer | None) -> dict[str, str]:
    """Names of the files by their graphs' hashes, the recommended one first."""
    variants = models_by_file(outcome.recipe)
    wanted = (found.row.model, found.row.scheme) if found else None
    results = sorted(outcome.results, key=lambda one: variants[one["file"]] != wanted)
    return {one["model_sha256"]: one["file"].removesuffix(".tflite") for one in results}


def load_histories(outcome: Outcome) -> dict[str, NetworkHistory]:
    """Read how each network of a run was trained, by its label."""
    return {label: NetworkHistory.load(stage.folder) for label, stage in outcome.trained.items()}


def _difference_facts(one: Compared, metric: MetricDescription) -> dict[str, Any]:
    return {
        "why": one.why,
        "variant": " ".join(one.variant),
        "against": " ".join(one.against),
        "difference": one.difference.interval(metric),
        "words": one.words(metric),
    }


def _training_facts(label: str, history: NetworkHistory) -> dict[str, Any]:
    best = history.training.best_epoch
    return {
        "label": label,
        "epochs": len(history.training.loss),
        "best_epoch": best + 1,
        "seconds": sum(history.training.seconds),
        "seconds_per_epoch": statistics.median(history.training.seconds),
        "validation_score": history.training.validation_score[best],
        "test_score": history.test_score,
        "sparsity": history.sparsity_reached,
    }


def _state_facts(label: str, found: StateRange) -> dict[str, Any]:
    return {"label": label, "state": found.state, "steps": found.steps, **found.facts}


def _confusion(outcome: Outcome, found: Answer | None) -> Markup:
    """The confusion of the recommended model, added up over its seeds."""
    if found is None:
        return Markup()
    wanted = (found.row.model, found.row.scheme)
    kept = [
        outcome.items[file].confusion
        for file, variant in models_by_file(outcome.recipe).items()
        if variant == wanted and file in outcome.items
    ]
    counts = [one for one in kept if one is not None]
    if not counts:
        return Markup()
    total: NDArray[Any] = np.sum(counts, axis=0)
    labels = load_step_model(outcome.files[0]).labels
    names = labels or [str(number) for number in range(len(total))]
    return charts.confusion(total, names, " ".join(wanted))


def _commands(outcome: Outcome, path: Path) -> dict[str, str]:
    """Commands that make the page's figures again, by what they make."""
    recipe, folder = shlex.quote(str(path)), shlex.quote(str(outcome.folder))
    return {
        "all": f"edgestep run {recipe}",
        "latency": f"edgestep bench {folder}/*.tflite",
        "verified": f"edgestep verify {folder}/*.tflite",
        "scores": f"edgestep run {recipe} --again convert",
        "training": f"edgestep run {recipe} --again train",
        "robustness": f"edgestep robustness {folder}/*.tflite",
    }
