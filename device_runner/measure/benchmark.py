"""Results of a benchmark: one JSON object per model, and the table a person reads.

The objects' form is published in ``result.schema.json``.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from device_runner.errors import MissingRuntimeError
from device_runner.front_ends import sound_front_end, time_front_end
from device_runner.measure import machine
from device_runner.measure.energy import find_meter, measure_energy
from device_runner.measure.latency import (
    BenchSettings,
    Latency,
    ModelLatency,
    clock_overhead_ns,
    garbage_uncollected,
    measure,
    samples_needed,
    summarize,
)
from device_runner.measure.paced import PacedLatency, PacedSettings, measure_paced
from device_runner.stream import Stream
from device_runner.verify import Verification, verify

RESULT_FORMAT = 2
FRONT_END_FRAMES = 1000
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Circumstances:
    """How the process was set up, for the record. ``percentile`` is the one that the user asked
    for: a result that cannot tell it is invalid."""

    threads: int = 1
    cpus: tuple[int, ...] = ()
    realtime: int | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class Measured:
    """A result as JSON takes it, and the raw samples in nanoseconds, if they were kept."""

    result: dict[str, Any]
    samples: np.ndarray | None


def bench(
    streams: Sequence[Stream],
    settings: BenchSettings,
    circumstances: Circumstances,
    progress: Progress | None = None,
) -> list[Measured]:
    """Verify and measure models side by side, back to back.

    A result that must not be trusted is given all the same and marked: ``valid`` is False and
    ``invalid_reason`` says why.
    """
    session = _Session(streams, "back-to-back", asdict(settings), circumstances)
    latencies = measure(streams, settings, progress)
    return session.finish(latencies)


def bench_paced(
    stream: Stream,
    settings: PacedSettings,
    circumstances: Circumstances,
    progress: Progress | None = None,
) -> Measured:
    """Verify and measure one model at its pace; marked as by :func:`bench`."""
    session = _Session([stream], "paced", asdict(settings), circumstances)
    latency = measure_paced(stream, settings, progress)
    (measured,) = session.finish([latency])
    return measured


class _Session:
    """What is read before and after a measurement."""

    def __init__(
        self,
        streams: Sequence[Stream],
        mode: str,
        settings: dict[str, Any],
        circumstances: Circumstances,
    ) -> None:
        self.streams, self.percentile = streams, circumstances.percentile
        self.verifications = [verify(stream) for stream in streams]
        self.settings = {
            "mode": mode,
            **settings,
            **asdict(circumstances),
            "cpus": list(circumstances.cpus),
            "interleaved_with": len(streams),
            "garbage_collector": "off while timing",
        }
        self.started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.before = machine.describe_conditions()

    def finish(self, latencies: Sequence[ModelLatency | PacedLatency]) -> list[Measured]:
        after = machine.describe_conditions()
        facts = machine.describe_machine()
        shared: dict[str, Any] = {
            "result_format": RESULT_FORMAT,
            "started": self.started,
            "machine": facts,
            "conditions_before": self.before,
            "conditions_after": after,
            "warnings": machine.warnings_about(self.before, after),
            "settings": self.settings,
            "clock_overhead_ns": clock_overhead_ns(),
            "peak_memory_bytes": _peak_memory_bytes(),
        }
        if facts.get("emulated"):
            shared["warnings"].append("this CPU is emulated: the times say nothing of a device")
        throttled = machine.throttling(self.before, after)
        meter = find_meter()
        found = []
        measured: Iterable[tuple[Stream, Verification, ModelLatency | PacedLatency]]
        measured = zip(self.streams, self.verifications, latencies, strict=True)
        for stream, verification, latency in measured:
            energy = measure_energy(meter, stream) if meter else None
            front_end, front_end_warnings = _measure_front_end(stream)
            reasons = [throttled] if throttled else []
            reasons += _doubts(stream, verification, latency, self.percentile)
            statistics = asdict(replace(latency, samples=None))
            del statistics["samples"]
            result = {
                **shared,
                "warnings": shared["warnings"] + front_end_warnings,
                **_description(stream),
                "verification": finite(asdict(verification)),
                "valid": not reasons,
                "invalid_reason": "; ".join(reasons) or None,
                "latency_ns": statistics,
                "front_end_ns": front_end and asdict(front_end),
                "energy": energy and {**asdict(energy), "joules_per_step": energy.joules_per_step},
            }
            found.append(Measured(result, latency.samples))
        return found


def _description(stream: Stream) -> dict[str, Any]:
    """What was measured: the model, and what runs it."""
    contract, placement = stream.model.contract, stream.backend.placement()
    return {
        "file": stream.model.path.name,
        "model_sha256": stream.model.sha256,
        "file_bytes": stream.model.file_bytes,
        "task": contract.task,
        "cell": contract.cell,
        "units": list(contract.units),
        "scheme": contract.scheme,
        "parameters": contract.parameters,
        "metrics": contract.metrics,
        "recipe_hash": contract.recipe_hash,
        "backend": stream.backend.name,
        "backend_version": stream.backend.version,
        "placement": placement and asdict(placement),
        "wants_accelerator": stream.backend.wants_accelerator,
        # A microcontroller's runtime tells the memory that it needs.
        "arena_bytes": getattr(stream.backend, "arena_bytes", None),
    }


def _measure_front_end(stream: Stream) -> tuple[Latency | None, list[str]]:
    """What a frame costs before it is one, where the model's frames are made of sound; and what is
    to be said where that cannot be measured."""
    front_end = sound_front_end(stream.model.contract.front_end)
    if front_end is None:
        return None, []
    try:
        with garbage_uncollected():
            return summarize(time_front_end(front_end, FRONT_END_FRAMES)), []
    except MissingRuntimeError as error:
        return None, [f"the front end was not measured: {error.message}"]


def _doubts(
    stream: Stream,
    verification: Verification,
    latency: ModelLatency | PacedLatency,
    percentile: float | None,
) -> list[str]:
    """Why a result must not be trusted."""
    doubts = []
    if verification.failure:
        doubts.append(verification.failure)
    placement = stream.backend.placement()
    if placement and stream.backend.wants_accelerator and not placement.delegated:
        doubts.append(f"no operator runs on {placement.accelerator}: it fell back to the CPU")
    if percentile is not None and latency.step.samples < samples_needed(percentile):
        doubts.append(
            f"p{percentile:g} needs {samples_needed(percentile):,} samples, "
            f"there are {latency.step.samples:,}"
        )
    return doubts


def _peak_memory_bytes() -> int | None:
    """The largest memory of this process so far, the runtime and Python included."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def finite(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with None for NaN and infinity, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }


def format_results(results: Sequence[dict[str, Any]]) -> str:
    """The table of :func:`bench`'s results, in microseconds."""
    shown = ("p50", "p90", "p99", "p99.9")
    header = ("model", *shown, "max", "invoke", "float io", "headroom")
    rows: list[tuple[str, ...]] = [header]
    for result in results:
        latency = result["latency_ns"]
        step = latency["step"]
        rows.append(
            (
                _name(result),
                *(_microseconds(step["percentiles"][name]) for name in shown),
                _microseconds(step["maximum"]),
                _microseconds(_median(latency["invoke"])),
                _microseconds(_median(latency["float_step"])),
                f"{latency['headroom']:,.0f}x",
            )
        )
    first = results[0]
    notes = [
        f"Microseconds of one step {_on(first)}, {first['latency_ns']['step']['samples']:,} steps "
        "each, models interleaved.",
        "p50 ... max: the whole step (input written, invoke, state passed on, output read). "
        "invoke: p50 of the invoke alone. float io: p50 with real-valued input and output.",
        f"headroom: frame period ({first['latency_ns']['deadline'] / 1e6:g} ms) / p99.9 "
        "(or the largest percentile that has enough samples).",
    ]
    return _table(rows, notes, results)


def format_paced_results(results: Sequence[dict[str, Any]]) -> str:
    """The table of :func:`bench_paced`'s results, in microseconds."""
    shown = ("p50", "p99", "p99.9")
    header = ("model", *shown, "max", "step p50", "wake p50", "wake p99", "missed", "headroom")
    rows: list[tuple[str, ...]] = [header]
    for result in results:
        latency = result["latency_ns"]
        response, wake_up = latency["response"], latency["wake_up"]
        rows.append(
            (
                _name(result),
                *(_microseconds(response["percentiles"][name]) for name in shown),
                _microseconds(response["maximum"]),
                _microseconds(_median(latency["step"])),
                _microseconds(wake_up and _median(wake_up)),
                _microseconds(wake_up and wake_up["percentiles"]["p99"]),
                f"{latency['deadline_misses']:,}/{latency['frames']:,}",
                f"{latency['headroom']:,.1f}x",
            )
        )
    first = results[0]
    notes = [
        f"Microseconds from a frame's release to its output {_on(first)}, a frame every "
        f"{first['latency_ns']['deadline'] / 1e6:g} ms, sleeping between.",
        "step: the step alone. wake: how late the loop woke. missed: frames that were not done "
        "when the next was due, of all frames.",
        "headroom: frame period / p99.9 (or the largest percentile that has enough samples).",
    ]
    return _table(rows, notes, results)


def _name(result: dict[str, Any]) -> str:
    return result["file"].removesuffix(".tflite") + ("" if result["valid"] else "  INVALID")


def _median(latency: dict[str, Any]) -> int | None:
    return latency["percentiles"]["p50"]


def _on(result: dict[str, Any]) -> str:
    """Runtime and machine of a result."""
    return (
        f"on {result['backend']} {result['backend_version']}, "
        f"{result['settings']['threads']} thread(s), {result['machine']['model']} "
        f"({result['machine']['architecture']})"
    )


def _table(
    rows: Sequence[Sequence[str]], notes: Sequence[str], results: Sequence[dict[str, Any]]
) -> str:
    """Aligned rows, the first of them the header, and what is to be known about them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += ["", *notes]
    for result in results:
        placement = result["placement"]
        if placement and placement["on_cpu"] and result["wants_accelerator"]:
            on_cpu, delegated = placement["on_cpu"], placement["delegated"]
            lines.append(
                f"{result['file']}: {len(on_cpu)} of {len(on_cpu) + len(delegated)} operators are "
                f"on the CPU, not on {placement['accelerator']}: {', '.join(sorted(set(on_cpu)))}"
            )
        if front_end := result.get("front_end_ns"):
            lines.append(
                f"{result['file']}: its front end takes {_microseconds(_median(front_end))} (p50) "
                f"to {_microseconds(front_end['percentiles']['p99'])} (p99) before each step"
            )
        if result["energy"]:
            lines.append(
                f"{result['file']}: {result['energy']['joules_per_step'] * 1e6:.3g} microjoules "
                f"per step, the idle part included ({result['energy']['meter']})"
            )
        if not result["valid"]:
            lines.append(f"INVALID {result['file']}: {result['invalid_reason']}")
    # Each result of a run has the same ones, but for paced runs, which follow each other.
    lines += [
        f"Warning: {warning}"
        for warning in dict.fromkeys(text for result in results for text in result["warnings"])
    ]
    return "\n".join(lines)


def _microseconds(nanoseconds: int | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1e3:.2f}"
