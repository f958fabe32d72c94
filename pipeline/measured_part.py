"""The part of a page that shows what was measured on devices: compared, and through time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pipeline import measured_charts as charts
from pipeline.measured import DeviceCost, MeasuredModel


def measured_part(
    measured: Sequence[MeasuredModel],
    remarks: Sequence[str] = (),
    costs: Sequence[DeviceCost] = (),
) -> dict[str, Any]:
    """Make what ``measured_part.html.jinja`` shows.

    Args:
        remarks: what could not be read.
        costs: on devices, beside what the results say.
    """
    compared = _on_several([*costs, *(one.cost() for one in measured if not one.paced)])
    paced = [one for one in measured if one.paced and "timeline" in one.result["latency_ns"]]
    return {
        "remarks": remarks,
        "devices": charts.devices(compared) if compared else "",
        "left_out": len({one.name for one in compared}) > charts.SHOWN_MODELS,
        "rows": _device_rows(compared),
        "whole_run": charts.whole_run(paced) if paced else "",
        "stretch": charts.slowest_stretch(paced) if paced else "",
        "paced": [_paced_row(one) for one in paced],
        "commands": {
            "devices": list(dict.fromkeys(one.command for one in compared)),
            "paced": list(dict.fromkeys(one.command() for one in paced)),
        },
    }


def _on_several(costs: Sequence[DeviceCost]) -> list[DeviceCost]:
    """Leave those of models that were measured on more than one device."""
    seen: dict[str, set[str]] = defaultdict(set)
    for one in costs:
        seen[one.name].add(one.device)
    return [one for one in costs if len(seen[one.name]) > 1]


def _device_rows(compared: Sequence[DeviceCost]) -> list[dict[str, Any]]:
    """A row a model and device: its times, and how many times the first device's they are."""
    first: dict[str, DeviceCost] = {}
    for one in compared:
        first.setdefault(one.name, one)
    names = list(first)
    return [
        {
            "model": one.name,
            "device": one.device,
            "p50": _microseconds(one.p50_ns),
            "p99": _microseconds(one.p99_ns),
            "p50_times": _times(one.p50_ns, first[one.name].p50_ns),
            "p99_times": _times(one.p99_ns, first[one.name].p99_ns),
            "bytes": one.file_bytes,
            "arena": one.arena_bytes,
            "invalid": one.invalid,
        }
        for one in sorted(compared, key=lambda one: names.index(one.name))
    ]


def _times(mine: int | None, theirs: int | None) -> float | None:
    return mine / theirs if mine and theirs else None


def _paced_row(one: MeasuredModel) -> dict[str, Any]:
    found = one.result["latency_ns"]
    response, wake_up = found["response"], found["wake_up"]
    return {
        "name": one.run_name,
        "period": found["deadline"] / 1e6,
        "p50": _microseconds(response["percentiles"]["p50"]),
        "p99": _microseconds(response["percentiles"]["p99"]),
        "maximum": _microseconds(response["maximum"]),
        "step": _microseconds(found["step"]["percentiles"]["p50"]),
        "woke": _microseconds(wake_up and wake_up["percentiles"]["p50"]),
        "woke99": _microseconds(wake_up and wake_up["percentiles"]["p99"]),
        "missed": found["deadline_misses"],
        "queued": found["queued"],
        "frames": found["frames"],
        "bin": found["timeline"]["frames_per_bin"],
        "invalid": one.result["invalid_reason"],
    }


def _microseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e3
