"""Write a benchmark's results as a table for people, in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from device_runner.backends import steps_in_one_call
from device_runner.measure.result import BackToBackFacts, BenchResult, LatencyFacts, PacedFacts
from device_runner.model.inspection import window_in_words
from device_runner.model.window import Window
from device_runner.printable import printable

_LARGEST = "p99.9 (or the largest percentile that has enough samples)."


def format_results(results: Sequence[BenchResult]) -> str:
    """Format the results of one run, back to back or paced, with remarks."""
    paced = results[0]["settings"]["mode"] == "paced"
    rows, notes = _paced_table(results) if paced else _back_to_back_table(results)
    lines = [*_aligned(rows), "", *notes]
    for result in results:
        lines += _remarks(result)
    # All results of a run have the same warnings, except paced ones, which follow each other.
    lines += [
        f"Warning: {printable(warning)}"
        for warning in dict.fromkeys(text for result in results for text in result["warnings"])
    ]
    return "\n".join(lines)


def _back_to_back_table(
    results: Sequence[BenchResult],
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the rows, the first of which is the header, and notes."""
    shown = ("p50", "p90", "p99", "p99.9")
    makes_frames = any(result.get("front_end_ns") for result in results)
    before = ("front end",) if makes_frames else ()
    rows: list[tuple[str, ...]] = [
        ("model", *before, *shown, "max", "invoke", "float io", "headroom")
    ]
    for result in results:
        latency = cast(BackToBackFacts, result["latency_ns"])
        step = latency["step"]
        rows.append(
            (
                _name(result),
                *((_front_end(result),) if makes_frames else ()),
                *(_microseconds(step["percentiles"][name]) for name in shown),
                _microseconds(step["maximum"]),
                _microseconds(
                    None if steps_in_one_call(result["backend"]) else _median(latency["invoke"])
                ),
                _microseconds(_median(latency["float_step"])),
                f"{latency['headroom']:,.0f}x",
            )
        )
    first = results[0]
    return rows, [
        f"Microseconds of one step {_on(first)}, {first['latency_ns']['step']['samples']:,} steps "
        "each, models interleaved.",
        "p50 ... max: the whole step (input written, invoke, state passed on, output read). "
        "invoke: p50 of the invoke alone"
        + (
            f", - on {first['backend']}, whose invoke is the step"
            * steps_in_one_call(first["backend"])
        )
        + ". float io: p50 with real-valued input and output.",
        f"headroom: frame period ({first['latency_ns']['deadline'] / 1e6:g} ms) / {_LARGEST}",
        *(
            ["front end: p50 of making a frame from sound, before each step, which p50 ... max and "
             "headroom leave out."]
            if makes_frames
            else []
        ),
    ]  # fmt: skip


def _paced_table(results: Sequence[BenchResult]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the rows, the first of which is the header, and notes."""
    shown = ("p50", "p99", "p99.9")
    rows: list[tuple[str, ...]] = [
        ("model", *shown, "max", "step p50", "wake p50", "wake p99", "missed", "headroom")
    ]
    for result in results:
        latency = cast(PacedFacts, result["latency_ns"])
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
    return rows, [
        f"Microseconds from a frame's release to its output {_on(first)}, a frame every "
        f"{first['latency_ns']['deadline'] / 1e6:g} ms, sleeping between.",
        "step: the step alone. wake: how late the loop woke. missed: frames that were not done "
        "when the next was due, of all frames.",
        f"headroom: frame period / {_LARGEST}",
    ]


def _front_end(result: BenchResult) -> str:
    found = result.get("front_end_ns")
    return _microseconds(found and _median(found))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _remarks(result: BenchResult) -> list[str]:
    """List what else to know about a result, one line each."""
    lines = []
    if choice := result.get("backend_choice"):
        lines.append(f"{result['file']}: {printable(result['backend'])}, {printable(choice)}")
    if window := result.get("window"):
        said = window_in_words(Window(**window))
        lines.append(f"{result['file']}: {said}; a step is a frame, with an answer or not")
    if (rows := result.get("rows", 1)) > 1:
        each = (_median(result["latency_ns"]["step"]) or 1) / rows
        lines.append(
            f"{result['file']}: a call steps {rows} streams: {1e9 / each:,.0f} steps a second of "
            f"all together, {each / 1e3:.3f} us each (from p50)"
        )
    if front_end := result.get("front_end_ns"):
        lines.append(
            f"{result['file']}: its front end takes {_microseconds(_median(front_end))} (p50) "
            f"to {_microseconds(front_end['percentiles']['p99'])} (p99) before each step"
        )
    if energy := result["energy"]:
        lines.append(
            f"{result['file']}: {energy['joules_per_step'] * 1e6:.3g} microjoules "
            f"per step, the idle part included ({energy['meter']})"
        )
    if unverified := result.get("unverified"):
        lines.append(f"UNVERIFIED {result['file']}: {unverified}")
    if not result["valid"]:
        lines.append(f"INVALID {result['file']}: {result['invalid_reason']}")
    return list(map(printable, lines))


def _name(result: BenchResult) -> str:
    name = printable(result["file"]).removesuffix(".tflite")
    return name if result["valid"] else f"{name}  INVALID"


def _median(latency: LatencyFacts) -> int | None:
    return latency["percentiles"]["p50"]


def _on(result: BenchResult) -> str:
    """Name the runtime and machine of a result."""
    return (
        f"on {printable(result['backend'])} {printable(result['backend_version'])}, "
        f"{result['settings']['threads']} thread(s), {printable(result['machine']['model'])} "
        f"({printable(result['machine']['architecture'])})"
    )


def _microseconds(nanoseconds: int | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1e3:.2f}"
