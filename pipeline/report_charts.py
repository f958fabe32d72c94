"""The charts of a run's report, as Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from models.metrics import MetricDescription
from pipeline.stages.history import NetworkHistory
from pipeline.table import Row, pareto_front
from pipeline.vega import chart

# A deadline further right than so many times the slowest step would press all points together.
SHOWN_TIMES = 100
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
# A range with fewer samples than this in its tail is not drawn.
LEAST_SAMPLES = 1

Spec = dict[str, Any]


def tradeoff(rows: Sequence[Row], frame_period_s: float) -> Markup:
    """Draw the score against the latency and against the size of the file: a point a variant, its
    seeds' range, and the front of those that no other beats in both."""
    metric = rows[0].metric
    by_time = [(row, row.p99 or row.p50) for row in rows]
    deadline = frame_period_s * 1e6
    slowest = max(cost for _, cost in by_time)
    rule = [_deadline(deadline)] if deadline < SHOWN_TIMES * slowest else []
    far = (
        ""
        if rule
        else f"the deadline, {deadline:,.0f} us, is {deadline / slowest:,.0f} times the slowest"
    )
    percentile = "p99" if all(row.p99 for row in rows) else "p50"
    latency = _against(
        by_time, f"{percentile} of a step, microseconds (log)", metric, rule, subtitle=far
    )
    size = _against(
        [(row, float(row.file_bytes)) for row in rows], "file, bytes (log)", metric, form="~s"
    )
    return chart("by-latency", f"{metric.name} against the latency of a step", latency) + chart(
        "by-size", f"{metric.name} against the size of the file", size
    )


def _against(
    costs: Sequence[tuple[Row, float]],
    title: str,
    metric: MetricDescription,
    more: Sequence[Spec] = (),
    subtitle: str = "",
    form: str = "~g",
) -> Spec:
    unit = f", {metric.unit}" if metric.unit else ""
    way = "" if metric.higher_is_better else " (lower is better)"
    x = {
        "field": "cost",
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "nice": False, "padding": 20},
        "axis": {"format": form, "tickCount": 6},
    }
    y = {
        "field": "score",
        "type": "quantitative",
        "scale": {"zero": False},
        "title": f"test {metric.name}{unit}{way}",
    }
    layers = _layers(x, y, [row.model for row, _ in costs])
    spec: Spec = {"data": {"values": _points(costs, metric)}, "layer": [*layers, *more]}
    if subtitle:
        spec["title"] = {"text": subtitle, "fontSize": 12, "fontWeight": "normal",
                         "anchor": "start", "color": "currentColor"}  # fmt: skip
    return spec


def _points(costs: Sequence[tuple[Row, float]], metric: MetricDescription) -> list[Spec]:
    front = front_of([(cost, row.score) for row, cost in costs], metric.higher_is_better)
    overall = pareto_front([row for row, _ in costs])
    return [
        {
            "variant": f"{row.model} {row.scheme}",
            "model": row.model,
            "scheme": row.scheme,
            "cost": cost,
            "score": metric.shown(row.score),
            "low": metric.shown(row.score_range[0]),
            "high": metric.shown(row.score_range[1]),
            "bytes": row.file_bytes,
            "p50, us": round(row.p50, 2),
            "best": "on the front" if row in overall else "beaten",
            "front": place in front,
        }
        for place, (row, cost) in enumerate(costs)
    ]


def _layers(x: Spec, y: Spec, models: Sequence[str]) -> list[Spec]:
    """The front, the seeds' ranges, and the points, one model of which may be chosen."""
    shown = ("variant", "score", "low", "high", "bytes", "p50, us", "best")
    picked = {"condition": {"param": "model", "value": 1}, "value": 0.15}
    color = {"field": "model", "type": "nominal", "title": "model", "sort": None}
    return [
        {
            "transform": [{"filter": "datum.front"}],
            "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [4, 3],
                     "color": "currentColor", "opacity": 0.5},
            "encoding": {"x": x, "y": y, "order": {"field": "cost"}},
        },
        {
            "mark": {"type": "rule"},
            "encoding": {"x": x, "y": {"field": "low", "type": "quantitative"},
                         "y2": {"field": "high"}, "color": color, "opacity": picked},
        },
        {
            "params": [{"name": "model", "select": {"type": "point", "fields": ["model"]},
                        "bind": _choice(models)}],
            "mark": {"type": "point", "filled": True, "size": 90},
            "encoding": {
                "x": x, "y": y, "color": color, "opacity": picked,
                "shape": {"field": "scheme", "type": "nominal", "title": "scheme", "sort": None,
                          "scale": {"range": list(SHAPES)}},
                "stroke": {"condition": {"test": "datum.best == 'on the front'",
                                         "value": "currentColor"}, "value": None},
                "tooltip": [{"field": name} for name in shown],
            },
        },
    ]  # fmt: skip


def _choice(models: Sequence[str]) -> Spec:
    names = list(dict.fromkeys(models))
    return {"input": "select", "options": [None, *names], "labels": ["all models", *names],
            "name": "show "}  # fmt: skip


def _deadline(microseconds: float) -> Spec:
    return {
        "data": {"values": [{"deadline": microseconds, "text": "deadline"}]},
        "encoding": {"x": {"field": "deadline", "type": "quantitative"}},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2, "color": "currentColor"}},
            {"mark": {"type": "text", "align": "right", "dx": -4, "y": 8, "color": "currentColor"},
             "encoding": {"text": {"field": "text"}}},
        ],
    }  # fmt: skip


def front_of(points: Sequence[tuple[float, float]], higher_is_better: bool) -> set[int]:
    """Find the points that no other one beats in cost and score.

    Args:
        points: (cost, score) of each.

    Example:
        >>> sorted(front_of([(1, 0.8), (2, 0.9), (3, 0.85)], higher_is_better=True))
        [0, 1]
    """
    sign = 1 if higher_is_better else -1
    return {
        place
        for place, (cost, score) in enumerate(points)
        if not any(
            other != (cost, score) and other[0] <= cost and sign * other[1] >= sign * score
            for other in points
        )
    }


def latencies(results: Sequence[dict[str, Any]]) -> Markup:
    """Draw for each file which share of its steps takes longer than a time."""
    values = []
    for result in results:
        step = result["latency_ns"]["step"]
        counts = np.array([count for _, count in step["histogram"]], float)
        slower = counts.sum() - np.concatenate([[0.0], np.cumsum(counts)[:-1]])
        for (low, _), left in zip(step["histogram"], slower, strict=True):
            if left >= LEAST_SAMPLES:
                values.append(
                    {
                        "file": result["file"].removesuffix(".tflite"),
                        "us": low / 1e3,
                        "share": left / counts.sum(),
                    }
                )
    spec = {
        "data": {"values": values},
        "params": [{"name": "file", "select": {"type": "point", "fields": ["file"]},
                    "bind": "legend"}],
        "mark": {"type": "line", "interpolate": "step-before", "point": False, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "us", "type": "quantitative", "scale": {"type": "log"},
                  "title": "microseconds of a step (log)", "axis": {"format": "~g"}},
            "y": {"field": "share", "type": "quantitative", "scale": {"type": "log"},
                  "title": "share of the steps that take longer", "axis": {"format": "~g"}},
            "color": {"field": "file", "type": "nominal", "title": None, "sort": None},
            "opacity": {"condition": {"param": "file", "value": 1}, "value": 0.15},
            "tooltip": [{"field": "file"}, {"field": "us"}, {"field": "share", "format": ".3~g"}],
        },
    }  # fmt: skip
    return chart("latencies", "Share of the steps that take longer than a time, by file", spec)


def training_curves(histories: Mapping[str, NetworkHistory]) -> Markup:
    """Draw the losses of training and validation, epoch by epoch, and which epoch was kept."""
    values = []
    for label, history in histories.items():
        found = history.training
        for kind, losses in (("validation", found.validation_loss), ("training", found.loss)):
            for epoch, loss in enumerate(losses, 1):
                kept = kind == "validation" and epoch == found.best_epoch + 1
                values.append({"network": label, "data": kind, "epoch": epoch,
                               "loss": _positive(loss), "kept": kept})  # fmt: skip
    color = {"field": "network", "type": "nominal", "title": None, "sort": None}
    x = {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}}
    y = {"field": "loss", "type": "quantitative", "scale": {"type": "log"},
         "title": "loss per step (log)"}  # fmt: skip
    tip = [{"field": name} for name in ("network", "data", "epoch", "loss")]
    spec = {
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "line", "clip": True},
             "encoding": {"x": x, "y": y, "color": color, "tooltip": tip,
                          "strokeDash": {"field": "data", "type": "nominal", "title": None,
                                         "sort": ["validation", "training"]}}},
            {"transform": [{"filter": "datum.kept"}],
             "mark": {"type": "point", "filled": True, "size": 60},
             "encoding": {"x": x, "y": y, "color": color, "tooltip": tip}},
        ],
    }  # fmt: skip
    return chart("training", "Loss of training and validation by epoch", spec)


def gradient_norms(histories: Mapping[str, NetworkHistory]) -> Markup:
    """Draw how much of the last step's loss reaches each earlier state, before and after."""
    values = []
    for label, history in histories.items():
        found = {
            "before training": history.gradient_norms_at_start,
            "after training": history.gradient_norms_after_training,
        }
        for when, layers in found.items():
            for place, norm in enumerate(layers[0] if layers else []):
                values.append({"network": label, "when": when, "norm": _positive(norm),
                               "step": place - len(layers[0])})  # fmt: skip
    spec = {
        "data": {"values": values},
        "mark": {"type": "line"},
        "encoding": {
            "x": {"field": "step", "type": "quantitative",
                  "title": "step, counted from the last"},
            "y": {"field": "norm", "type": "quantitative", "scale": {"type": "log"},
                  "title": "|d loss(last) / d state(t)| (log)", "axis": {"format": ".0e"}},
            "color": {"field": "network", "type": "nominal", "title": None, "sort": None},
            "strokeDash": {"field": "when", "type": "nominal", "title": None,
                           "sort": ["after training", "before training"]},
            "tooltip": [{"field": name} for name in ("network", "when", "step", "norm")],
        },
    }  # fmt: skip
    return chart("gradients", "Gradients through time, before and after training", spec)


def errors_through_time(rows: Sequence[Row]) -> Markup:
    """Draw how far the outputs are from the float model's along a stream without reset."""
    values = []
    for row in rows:
        drift = row.metrics.drift
        parts = drift.rms_by_part if drift else ()
        for place, error in enumerate(parts):
            steps = round(drift.steps * (place + 0.5) / len(parts)) if drift else 0
            values.append({"variant": f"{row.model} {row.scheme}", "steps": steps, "rms": error})
    if not values:
        return Markup()
    spec = {
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "steps", "type": "quantitative", "title": "steps without a reset"},
            "y": {"field": "rms", "type": "quantitative",
                  "title": "rms error, share of the outputs' spread"},
            "color": {"field": "variant", "type": "nominal", "title": None, "sort": None},
            "tooltip": [{"field": name} for name in ("variant", "steps", "rms")],
        },
    }  # fmt: skip
    return chart("errors", "Error of the outputs against the float model through time", spec)


def confusion(counts: np.ndarray[Any, Any], labels: Sequence[str], variant: str) -> Markup:
    """Draw what was decided for each class.

    Args:
        counts: int [wanted, decided].
        labels: of the classes.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    values = [
        {"wanted": wanted, "decided": decided, "sequences": int(counts[i, j]),
         "share": round(float(shares[i, j]), 4)}
        for i, wanted in enumerate(labels)
        for j, decided in enumerate(labels)
    ]  # fmt: skip
    side = 22 * len(labels)
    axis = {"type": "nominal", "sort": list(labels)}
    spec = {
        "data": {"values": values},
        "height": max(160, side),
        "encoding": {
            "x": {"field": "decided", **axis, "title": "decided", "axis": {"labelAngle": -45}},
            "y": {"field": "wanted", **axis, "title": "wanted"},
            "tooltip": [{"field": name} for name in ("wanted", "decided", "sequences", "share")],
        },
        "layer": [
            {"mark": "rect",
             "encoding": {"color": {"field": "share", "type": "quantitative", "legend": None,
                                    "scale": {"range": ["#4e8fd000", "#4e8fd0"],
                                              "domain": [0, 1]}}}},
            {"transform": [{"filter": "datum.sequences > 0"}],
             "mark": {"type": "text", "color": "currentColor", "fontSize": 10},
             "encoding": {"text": {"field": "sequences"}}},
        ],
    }  # fmt: skip
    return chart("confusion", f"What {variant} decided for each class", spec)


def _positive(value: float) -> float | None:
    """A value for a logarithmic axis; none if it has no place there."""
    return float(f"{value:.5g}") if np.isfinite(value) and value > 0 else None
