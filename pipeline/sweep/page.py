"""Write ``report.html`` of a sweep: the answer, the fronts, and every trial."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from device_runner.atomic_write import write_atomically
from models.metrics import MetricDescription
from pipeline.measured import DeviceCost, read_measured
from pipeline.measured_part import measured_part
from pipeline.report_charts import Spec, front_of
from pipeline.sweep.log import COMPLETE, SweepLog
from pipeline.sweep.settings import ACCURACY, BYTES, SweepSettings
from pipeline.sweep.trial import front_end_words
from pipeline.vega import chart, library

REPORT_FILE = "report.html"
BYTES_TITLE = "bytes (log)"
# States of trials, each in a shape of its own.
SHAPES = {"complete": "circle", "infeasible": "cross", "pruned": "triangle-down"}


def write_page(path: Path, settings: SweepSettings, metric: MetricDescription, log: SweepLog,
               command: Sequence[str]) -> None:  # fmt: skip
    """Write the page of a sweep that has ended.

    Args:
        path: the file to write.
        command: that made the sweep.
    """
    rows = [_row(one, settings, metric, log) for one in log.trials.values()]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    front = log.front["trials"] if log.front else []
    names = {
        log.trials[one["trial"]]["sha256"]: one["file"].removesuffix(".tflite") for one in front
    }
    again = shlex.join(["edgestep", *command])
    measured, remarks = read_measured(path.parent, names)
    html = environment.get_template("sweep/sweep.html.jinja").render(
        name=settings.name,
        answer=answer(settings, metric, log),
        counts=_counts(log),
        costs=_costs(settings),
        metric=metric,
        rows=rows,
        charts=Markup().join(_against(one, rows, settings, metric) for one in _costs(settings)),
        measured=measured_part(measured, remarks, _device_costs(log, names, again)),
        command=again,
        library=library(),
    )
    write_atomically(path, html.encode())


def answer(settings: SweepSettings, metric: MetricDescription, log: SweepLog) -> str:
    """Say in a sentence what came of a sweep: the best network, and what a smaller one costs.

    The best is that with the best validation score of those that none beats; its figures on the
    test data follow.
    """
    front = log.front["trials"] if log.front else []
    if not front:
        return "No trial kept its constraints and was trained"
    ordered = sorted(front, key=lambda one: metric.lost(_objective(one, ACCURACY), 0))
    best = ordered[0]
    low, high = best["test_interval"]
    words = " ".join(front_end_words(log.asked.get(best["trial"], {})))
    heard = f" ({words})" if words else ""
    sentence = (
        f"{best['file']}{heard}: test {metric.name} {metric.text(best['test'])} "
        f"({metric.text(low)} to {metric.text(high)} in 95 %)"
    )
    sentence += "".join(f", {_cost_text(name, best)}" for name in _costs(settings))
    period = log.trials[best["trial"]].get("frame_period_s", 0)
    deadline = settings.constraints.deadline_at(period)
    if deadline:
        sentence += f", deadline {1000 * deadline:.4g} ms"
    size = _objective(best, BYTES)
    smaller = [one for one in ordered if 2 * _objective(one, BYTES) <= size]
    if smaller:
        other = smaller[0]
        low, high = other["test_interval"]
        sentence += (
            f"; half the size ({other['file']}, {_objective(other, BYTES):,} bytes) has "
            f"{metric.text(other['test'])} ({metric.text(low)} to {metric.text(high)})"
        )
    return sentence


def _objective(one: Mapping[str, Any], name: str) -> Any:
    return one["objectives"].get(name, float("inf"))


def _costs(settings: SweepSettings) -> list[str]:
    return [name for name in settings.objective_names if name != ACCURACY]


def _cost_text(name: str, one: Mapping[str, Any]) -> str:
    value = _objective(one, name)
    if name == BYTES:
        return f"{value:,} bytes"
    device = name.partition(":")[2]
    where = {"": "", "here": " on this machine"}.get(device, f" on {device}")
    return f"p99 {value / 1000:.3g} us{where}"


def _counts(log: SweepLog) -> str:
    states = [one["state"] for one in log.trials.values()]
    return ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))


def _device_costs(log: SweepLog, names: Mapping[str, str], command: str) -> list[DeviceCost]:
    """What the sweep itself measured of the files on its devices."""
    found = {trial["sha256"]: trial for trial in log.complete()}
    return [
        DeviceCost(
            name=name,
            device=device,
            p50_ns=one["p50_ns"],
            p99_ns=one["p99_ns"],
            file_bytes=found[sha256]["file_bytes"],
            arena_bytes=None,
            invalid=None if one["steady"] else "the control model was not as fast as usual",
            command=command,
        )
        for sha256, name in names.items()
        for (device, measured), one in log.measured.items()
        if measured == sha256
    ]


def _row(
    one: Mapping[str, Any], settings: SweepSettings, metric: MetricDescription, log: SweepLog
) -> dict[str, Any]:
    """What the page shows of a trial."""
    tested = {found["trial"]: found for found in (log.front or {"trials": []})["trials"]}
    found = one["objectives"]
    score = found.get(ACCURACY)
    low, high = one.get("intervals", {}).get(ACCURACY, (score, score))
    broken = [name for name, beyond in one["violations"].items() if beyond > 0]
    return {
        "trial": one["trial"],
        "label": one["label"] or " ".join(str(part) for part in one["point"].values() if part),
        "scheme": str(one["point"].get("scheme", "")),
        "state": one["state"],
        "score": score,
        "low": low,
        "high": high,
        "costs": {name: _shown_cost(name, found.get(name)) for name in _costs(settings)},
        "test": tested[one["trial"]]["test"] if one["trial"] in tested else None,
        "why": one["reason"] or (f"beyond {', '.join(broken)}" if broken else ""),
        "front": one["trial"] in tested,
    }


def _shown_cost(name: str, value: float | None) -> float | None:
    """Bytes as they are, times in microseconds."""
    if value is None or name == BYTES:
        return value
    return round(value / 1000, 3)


def _against(
    cost: str, rows: Sequence[Mapping[str, Any]], settings: SweepSettings,
    metric: MetricDescription,
) -> Markup:  # fmt: skip
    """Draw the validation score of all trained trials against one cost."""
    known = [row for row in rows if row["score"] is not None and row["costs"][cost] is not None]
    if not known:
        return Markup()
    kept = [row for row in known if row["state"] == COMPLETE]
    front = front_of([(row["costs"][cost], row["score"]) for row in kept], metric.higher_is_better)
    best = {kept[place]["trial"] for place in front}
    values = [
        {
            "trial": row["trial"], "network": row["label"], "scheme": row["scheme"],
            "state": row["state"], "cost": row["costs"][cost],
            "score": metric.shown(row["score"]), "low": metric.shown(row["low"]),
            "high": metric.shown(row["high"]), "front": row["trial"] in best,
            "chosen": row["front"],
        }
        for row in known
    ]  # fmt: skip
    title = BYTES_TITLE if cost == BYTES else f"{cost}, microseconds (log)"
    spec: Spec = {"data": {"values": values}, "layer": _layers(title, metric)}
    limit = settings.constraints.bytes if cost == BYTES else settings.constraints.deadline
    slowest = max(value["cost"] for value in values)
    at = limit if cost == BYTES or limit is None else limit * 1e6
    if at is not None and at < 30 * slowest:
        spec["layer"].append(
            {"data": {"values": [{"limit": at}]}, "mark": {"type": "rule", "strokeWidth": 2,
             "color": "currentColor"}, "encoding": {"x": {"field": "limit", "type": "quantitative"},
             "tooltip": [{"field": "limit"}]}}
        )  # fmt: skip
    name = "by-" + "".join(letter if letter.isalnum() else "-" for letter in cost)
    return chart(name, f"Validation {metric.name} of all trials against {cost}", spec)


def _layers(title: str, metric: MetricDescription) -> list[Spec]:
    unit = f", {metric.unit}" if metric.unit else ""
    x = {
        "field": "cost",
        "type": "quantitative",
        "title": title,
        "axis": {"format": "~s" if title == BYTES_TITLE else "~g"},
        "scale": {"type": "log", "nice": False, "padding": 20},
    }
    y = {"field": "score", "type": "quantitative", "scale": {"zero": False},
         "title": f"validation {metric.name}{unit}"}  # fmt: skip
    shown = ("trial", "network", "scheme", "state", "score", "low", "high", "cost")
    return [
        {"transform": [{"filter": "datum.front"}],
         "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [4, 3],
                  "color": "currentColor", "opacity": 0.5},
         "encoding": {"x": x, "y": y, "order": {"field": "cost"}}},
        {"transform": [{"filter": "datum.chosen"}], "mark": {"type": "rule"},
         "encoding": {"x": x, "y": {"field": "low", "type": "quantitative"},
                      "y2": {"field": "high"},
                      "color": {"field": "scheme", "type": "nominal", "sort": None}}},
        {"mark": {"type": "point", "filled": True, "size": 70},
         "encoding": {
             "x": x, "y": y,
             "color": {"field": "scheme", "type": "nominal", "sort": None},
             "shape": {"field": "state", "type": "nominal",
                       "scale": {"domain": list(SHAPES), "range": list(SHAPES.values())}},
             "opacity": {"condition": {"test": "datum.chosen", "value": 1}, "value": 0.45},
             "stroke": {"condition": {"test": "datum.chosen", "value": "currentColor"},
                        "value": None},
             "tooltip": [{"field": name} for name in shown]}},
    ]  # fmt: skip
