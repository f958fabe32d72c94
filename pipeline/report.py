"""Write the report of a run: one self-contained HTML file with tables and pictures."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from device_runner.atomic_write import write_atomically
from models.metrics import MetricDescription
from pipeline.all_stages import Outcome
from pipeline.differences import Compared
from pipeline.drawing import MARKERS, colors_of, svg
from pipeline.robustness.page import robustness_part
from pipeline.spoken import spoken
from pipeline.stages.calibrate import StateRange, load_state_ranges
from pipeline.stages.history import NetworkHistory
from pipeline.table import Row, compared, make_rows, pareto_front, remarks, title

REPORT_FILE = "report.html"
TEMPLATE_FILE = "report.html.jinja"


def write_report(outcome: Outcome) -> Path:
    """Write report.html into the run's folder and return its path."""
    rows = make_rows(outcome)
    histories = {
        label: NetworkHistory.load(stage.folder) for label, stage in outcome.trained.items()
    }
    states = {label: load_state_ranges(stage) for label, stage in outcome.calibrated.items()}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template(TEMPLATE_FILE).render(
        title=title(outcome),
        recipe=outcome.recipe,
        task=outcome.task,
        metric=outcome.task.metric,
        rows=rows,
        remarks=remarks(rows, outcome),
        first=outcome.results[0],
        training=[_training_facts(label, history) for label, history in histories.items()],
        states=[_state_facts(label, one) for label, found in states.items() for one in found],
        tradeoff=svg("tradeoff", _tradeoff(rows)),
        pareto=pareto_front(rows),
        differences=[_difference_facts(one, outcome.task.metric) for one in compared(outcome)],
        distribution=svg("distribution", _distributions(outcome.results)),
        curves=svg("curves", _training_curves(histories)),
        gradients=svg("gradients", _gradient_norms(histories)),
        spoken=spoken(outcome.files),
        robustness=robustness_part(outcome.studies) if outcome.studies else "",
    )
    path = outcome.folder / REPORT_FILE
    write_atomically(path, html.encode())
    return path


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


def _tradeoff(rows: list[Row]) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    by_latency, by_size = figure.subplots(1, 2, sharey=True)
    colors = colors_of([row.model for row in rows])
    best = pareto_front(rows)
    metric = rows[0].metric
    for axes, position in ((by_latency, _latency), (by_size, _size)):
        for model, color in colors.items():
            chosen = [row for row in rows if row.model == model]
            axes.plot(
                [position(row) for row in chosen],
                [metric.shown(row.score) for row in chosen],
                color=color,
                linewidth=0.8,
            )
            for row in chosen:
                low, high = row.score_range
                below, above = metric.shown(row.score - low), metric.shown(high - row.score)
                axes.errorbar(
                    position(row),
                    metric.shown(row.score),
                    yerr=[[below], [above]],
                    marker=MARKERS.get(row.scheme, "^"),
                    color=color,
                    capsize=2,
                    markersize=9 if row in best else 5,
                    markeredgecolor="black" if row in best else color,
                    linestyle="none",
                    label=f"{row.model} {row.scheme}",
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(_shortened))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    by_latency.set(xlabel="p50 of a step, microseconds", ylabel=_label_of(metric))
    by_size.set(xlabel="file size, bytes")
    handles, labels = by_latency.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    return figure


def _latency(row: Row) -> float:
    return row.p50


def _size(row: Row) -> float:
    return row.file_bytes


def _shortened(value: float, _: int) -> str:
    """A tick's label: 0.5, 20, 50k."""
    return EngFormatter(sep="")(value) if value >= 1000 else f"{value:g}"


def _label_of(metric: MetricDescription) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    return f"test {metric.name}{unit}" + ("" if metric.higher_is_better else "\n(lower is better)")


def _distributions(results: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(results)), layout="constrained")
    axes = figure.subplots()
    # A network's schemes share its color; its file is named NETWORK-SCHEME.
    colors = colors_of(_network_of(result) for result in results)
    for position, result in enumerate(reversed(results)):
        step = result["latency_ns"]["step"]
        edges = np.array([low for low, _ in step["histogram"]])
        # Eight bins per factor of two, as device_runner.measure.histogram cuts them.
        widths = 2.0 ** np.floor(np.log2(np.maximum(edges, 8))) / 8
        counts = np.array([count for _, count in step["histogram"]], float)
        heights = 0.9 * np.log10(1 + counts) / np.log10(1 + counts.max())
        color = colors[_network_of(result)]
        axes.bar(
            edges / 1e3,
            heights,
            width=widths / 1e3,
            bottom=position,
            align="edge",
            color=color,
            alpha=0.7,
        )
        for name, style in (("p50", "-"), ("p99", "--"), ("p99.9", ":")):
            value = step["percentiles"][name]
            if value is not None:
                axes.plot([value / 1e3] * 2, [position, position + 0.9], style, color="black", lw=1)
    axes.set_yticks(
        np.arange(len(results)) + 0.4,
        [result["file"].removesuffix(".tflite") for result in reversed(results)],
    )
    axes.set_xscale("log")
    axes.set_xlabel("microseconds of one step (bar heights: logarithm of the count; "
                    "lines: p50, p99 dashed, p99.9 dotted)")  # fmt: skip
    axes.grid(axis="x", alpha=0.3)
    return figure


def _network_of(result: dict[str, Any]) -> str:
    scheme = result["scheme"].replace(":", "-")
    return str(result["file"]).removesuffix(f"-{scheme}.tflite")


def _training_curves(histories: dict[str, NetworkHistory]) -> Figure:
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    for (label, history), color in zip(
        histories.items(), colors_of(histories).values(), strict=True
    ):
        axes.plot(history.training.validation_loss, color=color, label=label)
        axes.plot(history.training.loss, color=color, linewidth=0.7, linestyle=":")
        best = history.training.best_epoch
        axes.plot(best, history.training.validation_loss[best], "o", color=color, markersize=4)
    axes.set(xlabel="epoch", ylabel="loss per step", yscale="log")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _gradient_norms(histories: dict[str, NetworkHistory]) -> Figure:
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    headings = ("before training", "after training")
    for number, (axes, heading) in enumerate(zip(panels, headings, strict=True)):
        for (label, history), color in zip(
            histories.items(), colors_of(histories).values(), strict=True
        ):
            found = (history.gradient_norms_at_start, history.gradient_norms_after_training)
            if found[number]:
                norms = found[number][0]
                axes.plot(np.arange(len(norms)) - len(norms), norms, color=color,
                          label=label if axes is panels[0] else None)  # fmt: skip
        axes.set(title=heading, xlabel="step, counted from the last", yscale="log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("|d loss(last) / d state(t)|")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
