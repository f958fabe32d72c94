"""The page of a robustness study: curves, what it takes to lose, recovery; and the same as text."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.table import Table

from device_runner.atomic_write import write_atomically
from models.metrics import MetricDescription
from pipeline.drawing import MARKERS, colors_of, svg
from pipeline.robustness.disturbances import DISTURBANCES, Acts
from pipeline.robustness.recovery import BURST_SIZE, BURST_STEPS, NEAR, Recovery
from pipeline.robustness.study import ModelStudy

# A loss that counts: points of a metric in percent, a share of the value of one in a unit.
LOST_POINTS, LOST_SHARE = 0.05, 0.1
COLUMNS = 3


def tried(studies: list[ModelStudy]) -> list[str]:
    """Return the disturbances that were tried, in order."""
    return [name for name in DISTURBANCES if any(one.curve(name) for one in studies)]


def limit_of(study: ModelStudy, disturbance: str) -> str:
    """Write the smallest severity at which the median score lost what counts, or "> largest"."""
    curve = study.curve(disturbance)
    if not curve:
        return ""
    shown = DISTURBANCES[disturbance].shown
    metric, before = study.metric, study.undisturbed
    allowed = LOST_POINTS if metric.is_share else LOST_SHARE * abs(before)
    for severity in sorted(curve):
        if metric.lost(statistics.median(curve[severity]), before) > allowed:
            return shown(severity)
    return f"> {shown(max(curve))}"


def recovery_text(found: Recovery) -> str:
    """Write the median, the slowest tenth, and the share that was never near again."""
    if found.median is None:
        return "never"
    text = f"{found.median:g} ({found.slowest_tenth:g})"
    return text if not found.never else f"{text}, never in {found.never:.0%}"


def table(studies: list[ModelStudy]) -> Table:
    """Make the table for a terminal: a row for each disturbance, a column for each model."""
    made = Table(title=explanation(studies[0].metric), title_justify="left", box=None)
    made.add_column("")
    for one in studies:
        made.add_column(one.file.removesuffix(".tflite"), justify="right")
    metric = studies[0].metric
    made.add_row("undisturbed", *(metric.text(s.undisturbed) for s in studies))
    for name in tried(studies):
        made.add_row(name, *(limit_of(s, name) for s in studies))
    made.add_row("steps to recover", *(recovery_text(s.recovery) for s in studies))
    return made


def explanation(metric: MetricDescription) -> str:
    """Say what the table's entries are."""
    lost = f"{100 * LOST_POINTS:g} points" if metric.is_share else f"{LOST_SHARE:.0%}"
    return f"Smallest severity at which the {metric.name} is worse by more than {lost}"


def recovery_heading() -> str:
    """Say what a recovery is."""
    return (
        f"steps until {NEAR:.0%} near after {BURST_STEPS} frames of noise "
        f"({BURST_SIZE:g} deviations), median (slowest tenth)"
    )


def write_page(path: Path, studies: list[ModelStudy], source: str, command: str) -> None:
    """Write a page of its own.

    Args:
        source: of the data, for people.
        command: that makes the page again.
    """
    html = _rendered(
        "robustness.html.jinja",
        studies=studies,
        metric=studies[0].metric,
        part=robustness_part(studies),
        source=source,
        command=command,
    )
    write_atomically(path, html.encode())


def robustness_part(studies: list[ModelStudy]) -> Markup:
    """Make what a page says of studies: the curves, the table, the recovery."""
    html = _rendered(
        "robustness_part.html.jinja",
        studies=studies,
        metric=studies[0].metric,
        explanation=explanation(studies[0].metric),
        disturbances=[(name, DISTURBANCES[name]) for name in tried(studies)],
        limit_of=limit_of,
        recovery_heading=recovery_heading(),
        recovery_text=recovery_text,
        curves=svg("robustness", curves(studies)),
    )
    return Markup(html)  # noqa: S704 - our own template, which escapes what it is given


def _rendered(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)


def curves(studies: list[ModelStudy]) -> Figure:
    """Draw the median score by severity, with the range of the seeds, a panel a disturbance."""
    names = tried(studies)
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3.6 * COLUMNS, 2.5 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    color = colors_of(_network(one) for one in studies)
    metric = studies[0].metric
    low_end, high_end = _limits(studies)
    for panel, name in zip(panels, names, strict=False):
        for one in studies:
            curve = one.curve(name)
            severities = sorted(curve)
            drawn, low, high = (
                # A browser does not read the coordinates of 1e38.
                np.clip([metric.shown(of(curve[s])) for s in severities], low_end, high_end)
                for of in (statistics.median, min, max)
            )
            panel.plot(
                severities,
                drawn,
                marker=MARKERS.get(one.scheme, "^"),
                linestyle="--" if one.scheme.startswith("float") else "-",
                color=color[_network(one)],
                label=one.file.removesuffix(".tflite") if panel is panels[0] else None,
            )
            panel.fill_between(severities, low, high, color=color[_network(one)], alpha=0.12)
        panel.set(title=name, xlabel=DISTURBANCES[name].meaning, xscale="log")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    if not metric.is_share:
        panels[0].set_ylim(low_end, high_end)
    panels[0].set_ylabel(f"{metric.name}, {metric.unit}" if metric.unit else metric.name)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _limits(studies: list[ModelStudy]) -> tuple[float, float]:
    """Values that can be drawn, in the metric's unit: of a metric without bounds those of disturbed
    inputs. Flipped bits can make an answer anything; such curves end at the picture's edge."""
    values = [one.undisturbed for one in studies]
    for one in studies:
        for trial, value in one.scores.items():
            disturbance = DISTURBANCES.get(trial.disturbance)
            if disturbance and disturbance.acts not in (Acts.STATE, Acts.WEIGHTS):
                values.append(value)
    shown = [studies[0].metric.shown(value) for value in values]
    low, high = min(shown), max(shown)
    if studies[0].metric.is_share:
        return min(low, 0.0), max(high, 100.0)
    margin = 0.05 * (high - low or abs(high) or 1.0)
    return low - margin, high + margin


def _network(study: ModelStudy) -> str:
    return study.file.removesuffix(f"-{study.scheme.replace(':', '-')}.tflite")
