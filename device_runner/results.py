"""Results of a benchmark: one JSON object per model, and the table a person reads."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from device_runner import machine
from device_runner.latency import BenchSettings, clock_overhead_ns, measure
from device_runner.stream import Stream
from device_runner.verify import verify

RESULT_FORMAT = 1


def bench(streams: Sequence[Stream], settings: BenchSettings, threads: int) -> list[dict[str, Any]]:
    """Verify and measure models side by side; one JSON-ready result per stream.

    A model whose numerics fail is measured all the same and marked: ``valid`` is False and
    ``invalid_reason`` says why.
    """
    verifications = [verify(stream) for stream in streams]
    before = machine.describe_conditions()
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    latencies = measure(streams, settings)
    after = machine.describe_conditions()
    facts = machine.describe_machine()
    shared = {
        "result_format": RESULT_FORMAT,
        "started": started,
        "machine": facts,
        "conditions_before": before,
        "conditions_after": after,
        "warnings": machine.warnings_about(before, after),
        "settings": {
            **asdict(settings),
            "threads": threads,
            "mode": "back-to-back",
            "interleaved_with": len(streams),
            "garbage_collector": "off while timing",
        },
        "clock_overhead_ns": clock_overhead_ns(),
    }
    return [
        {
            **shared,
            "file": stream.model.path.name,
            "model_sha256": stream.model.sha256,
            "file_bytes": stream.model.file_bytes,
            "task": stream.model.contract.task,
            "cell": stream.model.contract.cell,
            "units": list(stream.model.contract.units),
            "scheme": stream.model.contract.scheme,
            "parameters": stream.model.contract.parameters,
            "metrics": stream.model.contract.metrics,
            "recipe_hash": stream.model.contract.recipe_hash,
            "backend": stream.backend.name,
            "backend_version": stream.backend.version,
            "verification": finite(asdict(verification)),
            "valid": verification.failure is None,
            "invalid_reason": verification.failure,
            "latency_ns": asdict(latency),
        }
        for stream, verification, latency in zip(streams, verifications, latencies, strict=True)
    ]


def finite(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with None for NaN and infinity, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }


def format_results(results: Sequence[dict[str, Any]]) -> str:
    """The table of :func:`bench`'s results, in microseconds."""
    header = ("model", "p50", "p90", "p99", "p99.9", "max", "invoke", "float io", "headroom")
    rows = [header]
    for result in results:
        latency = result["latency_ns"]
        step = latency["step"]
        percentiles = [_microseconds(value) for value in step["percentiles"].values()]
        rows.append(
            (
                result["file"].removesuffix(".tflite") + ("" if result["valid"] else "  INVALID"),
                *percentiles,
                _microseconds(step["maximum"]),
                _microseconds(latency["invoke"]["percentiles"]["p50"]),
                _microseconds(latency["float_step"]["percentiles"]["p50"]),
                f"{latency['headroom']:,.0f}x",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    first = results[0]
    settings = first["settings"]
    lines += [
        "",
        f"Microseconds of one step on {first['backend']} {first['backend_version']}, "
        f"{settings['threads']} thread(s), {first['machine']['model']} "
        f"({first['machine']['architecture']}), {first['latency_ns']['step']['samples']:,} steps "
        "each, models interleaved.",
        "p50 ... max: the whole step (input written, invoke, state passed on, output read). "
        "invoke: p50 of the bare invoke. float io: p50 with real-valued input and output.",
        f"headroom: frame period ({first['latency_ns']['deadline'] / 1e6:g} ms) / p99.9 "
        "(or the largest percentile that has enough samples).",
    ]
    lines += [
        f"INVALID {result['file']}: {result['invalid_reason']}"
        for result in results
        if not result["valid"]
    ]
    lines += [f"Warning: {warning}" for warning in first["warnings"]]
    return "\n".join(lines)


def _microseconds(nanoseconds: int | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1e3:.2f}"
