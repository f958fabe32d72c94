"""Charts of what was measured on devices: one beside another, and a paced run through time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from device_runner.measure.timeline import BEFORE, FROM
from pipeline.measured import DeviceCost, MeasuredModel
from pipeline.vega import chart

# Models that a chart of devices has room for.
SHOWN_MODELS = 12
# A deadline further right than so many times the slowest frame would press all bars together.
SHOWN_TIMES = 4
BEGUN, DONE = "its step began", "its output was there"
WAKING, QUEUED, STEPPING = "until the loop woke", "behind the frame before", "the step"

MISSED = "#d0342c"
_COLORS = {"domain": [BEGUN, DONE], "range": ["#b59b00", "#4e8fd0"]}

Spec = dict[str, Any]


def devices(costs: Sequence[DeviceCost]) -> Markup:
    """Draw the median and the 99th percentile of each model's step, a line a device."""
    values = []
    models = list(dict.fromkeys(one.name for one in costs))[:SHOWN_MODELS]
    for one in costs:
        if one.name in models and one.p50_ns:
            values.append({"model": one.name, "device": one.device, "p50": one.p50_ns / 1e3,
                           "p99": (one.p99_ns or one.p50_ns) / 1e3})  # fmt: skip
    shared: Spec = {
        "y": {"field": "model", "type": "nominal", "sort": None, "title": None,
              "axis": {"labelLimit": 220}},
        "yOffset": {"field": "device", "type": "nominal", "sort": None},
        "color": {"field": "device", "type": "nominal", "sort": None, "title": None},
        "tooltip": [{"field": name} for name in ("model", "device", "p50", "p99")],
    }  # fmt: skip
    x = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 12},
         "title": "microseconds of a step (log)",
         "axis": {"format": "~g", "tickCount": 6}}  # fmt: skip
    count = len({value["device"] for value in values})
    spec = {
        "data": {"values": values},
        "height": max(120, 14 * (count + 1) * len(models)),
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.6},
             "encoding": {**shared, "x": {"field": "p50", **x}, "x2": {"field": "p99"}}},
            {"mark": {"type": "point", "filled": True, "size": 70},
             "encoding": {**shared, "x": {"field": "p50", **x}}},
        ],
    }  # fmt: skip
    return chart("devices", "What a step of each model takes on each device", spec)


def whole_run(paced: Sequence[MeasuredModel]) -> Markup:
    """Draw when the steps of paced runs began and ended after their frames' releases."""
    values = []
    for one in paced:
        found = one.result["latency_ns"]
        line, period = found["timeline"], found["deadline"] / 1e9
        values.append(
            {
                "run": one.run_name,
                "seconds": line["frames_per_bin"] * period,
                "begun": [_milliseconds(time) for time in line["begun"]],
                "done": [_milliseconds(time) for time in line["done"]],
                "missed": line["missed"],
                "deadline": found["deadline"] / 1e6,
            }
        )
    x = {"field": "time", "type": "quantitative", "title": "seconds of the run",
         "axis": {"tickCount": 8, "format": "~g"}}  # fmt: skip
    y = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 8},
         "axis": {"format": "~g"}, "title": "milliseconds after the release (log)"}  # fmt: skip
    tip = [{"field": name, "format": ".4~g"} for name in ("time", "begun", "done", "missed")]
    spec = {
        "params": [_shown(paced)],
        "data": {"values": values},
        "transform": [
            {"filter": "datum.run === shown"},
            {"flatten": ["begun", "done", "missed"]},
            {"window": [{"op": "row_number", "as": "place"}]},
            {"calculate": "(datum.place - 1) * datum.seconds", "as": "time"},
        ],
        "layer": [
            _line("begun", BEGUN, x, y, tip),
            _line("done", DONE, x, y, tip),
            {"mark": {"type": "rule", "strokeWidth": 2},
             "encoding": {"y": {"aggregate": "max", "field": "deadline", **y}}},
        ],
    }  # fmt: skip
    return chart("paced", "When each frame's step began and ended, against the deadline", spec)


def _line(field: str, what: str, x: Spec, y: Spec, tip: list[Spec]) -> Spec:
    """The points of one time; an output that missed the deadline is marked.

    A layer that only held these would be empty in most runs, of which the library complains.
    """
    missed = f"datum.missed > 0 && {json.dumps(field == 'done')}"
    return {
        "mark": {"type": "point", "filled": True, "opacity": 0.8},
        "encoding": {
            "x": x, "y": {"field": field, **y}, "tooltip": tip,
            "color": {"datum": what, "type": "nominal", "scale": _COLORS, "title": None,
                      "condition": {"test": missed, "value": MISSED}},
            "size": {"condition": {"test": missed, "value": 90}, "value": 14},
            "shape": {"condition": {"test": missed, "value": "triangle-up"}, "value": "circle"},
        },
    }  # fmt: skip


def slowest_stretch(paced: Sequence[MeasuredModel]) -> Markup:
    """Draw the frames around the slowest one: how long each waited, and its step."""
    values = [bar for one in paced for bar in _bars(one)]
    x = {"field": "begin", "type": "quantitative", "scale": {"zero": True},
         "title": "milliseconds after the frame's release",
         "axis": {"format": "~g", "tickCount": 8}}  # fmt: skip
    y = {"field": "frame", "type": "ordinal", "title": "frame", "axis": {"labelOverlap": True}}
    tip = [{"field": name} for name in ("frame", "what", "begin", "end", "missed")]
    spec = {
        "params": [_shown(paced)],
        "data": {"values": values},
        "transform": [{"filter": "datum.run === shown"}],
        "height": 11 * (BEFORE + FROM),
        "layer": [
            {"mark": {"type": "bar"},
             "encoding": {"x": x, "x2": {"field": "end"}, "y": y, "tooltip": tip,
                          "color": {"field": "what", "type": "nominal", "title": None,
                                    "scale": {"domain": [WAKING, QUEUED, STEPPING],
                                              "range": ["#b59b00", "#e07b39", "#4e8fd0"]}}}},
            {"mark": {"type": "point", "shape": "triangle-right", "filled": True, "xOffset": 7,
                      "color": MISSED},
             "encoding": {"x": {**x, "field": "end"}, "y": y,
                          "size": {"condition": {"test": "datum.missed", "value": 60},
                                   "value": 0}}},
            {"transform": [{"aggregate": [{"op": "max", "field": "deadline", "as": "deadline"},
                                          {"op": "max", "field": "near", "as": "near"}]}],
             "mark": {"type": "rule", "strokeWidth": 2},
             "encoding": {"x": {"field": "deadline", "type": "quantitative"},
                          "opacity": {"condition": {"test": "datum.near", "value": 1},
                                      "value": 0}}},
        ],
    }  # fmt: skip
    return chart("paced-stretch", "The frames around the slowest one, one below the other", spec)


def _bars(one: MeasuredModel) -> list[Spec]:
    found = one.result["latency_ns"]
    line, deadline = found["timeline"], found["deadline"]
    slowest = max(line["stretch_done"])
    near = deadline < SHOWN_TIMES * slowest
    values = []
    before = 0
    for place, (begun, done) in enumerate(
        zip(line["stretch_begun"], line["stretch_done"], strict=True)
    ):
        # What the first one waited for is told by the frame before it, which is not kept.
        told = place > 0 or line["first"] == 0
        waited = QUEUED if before > deadline else WAKING
        before = done
        if not told:
            continue
        shared = {"run": one.run_name, "frame": line["first"] + place, "near": int(near),
                  "deadline": _milliseconds(deadline if near else slowest)}  # fmt: skip
        values += [
            {**shared, "what": waited, "begin": 0, "end": _milliseconds(begun), "missed": False},
            {**shared, "what": STEPPING, "begin": _milliseconds(begun),
             "end": _milliseconds(done), "missed": done > deadline},
        ]  # fmt: skip
    return values


def _shown(paced: Sequence[MeasuredModel]) -> Spec:
    """Which run is shown; the page's list changes it."""
    return {"name": "shown", "value": paced[0].run_name}


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 4)
