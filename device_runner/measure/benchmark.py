"""Verify and measure models on this machine, each with a result of its own.

device_runner/measure/result.py says what a result holds; device_runner/measure/result_table.py
makes the table that a person reads.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from device_runner import strict_json
from device_runner.errors import MissingRuntimeError
from device_runner.measure import machine
from device_runner.measure.latency import (
    BenchSettings,
    Latency,
    ModelLatency,
    clock_overhead_ns,
    measure,
    samples_needed,
)
from device_runner.measure.result import (
    RESULT_FORMAT,
    BackToBackFacts,
    BenchResult,
    Conditions,
    EnergyFacts,
    LatencyFacts,
    ModelFacts,
    PacedFacts,
    PlacementFacts,
    RunFacts,
    RunSettings,
    WindowFacts,
)
from device_runner.stream import Stream
from device_runner.verify import Verification, verify

if TYPE_CHECKING:
    from device_runner.measure.paced import PacedLatency, PacedSettings

EMULATED = "this CPU is emulated: the times say nothing of a device"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Circumstances:
    """How the process was set up, for the record.

    ``percentile`` is the one that the user asked for: a result that cannot tell it is invalid.
    """

    threads: int = 1
    cpus: tuple[int, ...] = ()
    realtime: int | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class Measured:
    """A result, and the raw samples [steps] in nanoseconds if they were kept."""

    result: BenchResult
    samples: NDArray[np.int64] | None


def bench(
    streams: Sequence[Stream],
    settings: BenchSettings,
    circumstances: Circumstances,
    progress: Progress | None = None,
) -> list[Measured]:
    """Verify and measure models side by side, back to back.

    A result that must not be trusted is returned all the same, and marked: ``valid`` is False and
    ``invalid_reason`` says why.
    """
    session = _Session(streams, "back-to-back", asdict(settings), circumstances)
    return session.finish(measure(streams, settings, progress))


def bench_paced(
    stream: Stream,
    settings: PacedSettings,
    circumstances: Circumstances,
    progress: Progress | None = None,
) -> Measured:
    """Verify and measure one model at its pace; see :func:`bench` for invalid results."""
    from device_runner.measure.paced import measure_paced

    stream.model.require_one_row("a paced measurement")
    session = _Session([stream], "paced", asdict(settings), circumstances)
    (measured,) = session.finish([measure_paced(stream, settings, progress)])
    return measured


class _Session:
    """What is read before and after a measurement."""

    def __init__(
        self,
        streams: Sequence[Stream],
        mode: Literal["back-to-back", "paced"],
        settings: dict[str, Any],
        circumstances: Circumstances,
    ) -> None:
        self.streams, self.percentile = streams, circumstances.percentile
        self.verifications = [
            verify(stream) if stream.model.unverified is None else None for stream in streams
        ]
        facts = {
            "mode": mode,
            **settings,
            **asdict(circumstances),
            "cpus": list(circumstances.cpus),
            "interleaved_with": len(streams),
            "garbage_collector": "off while timing",
        }
        self.settings = cast(RunSettings, facts)
        self.started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.before = machine.describe_conditions()

    def finish(self, latencies: Sequence[ModelLatency | PacedLatency]) -> list[Measured]:
        """Read the conditions again, measure what is not a step, and make the results."""
        after = machine.describe_conditions()
        run = self._run_facts(after)
        throttled = machine.throttling(self.before, after)
        measured = zip(self.streams, self.verifications, latencies, strict=True)
        return [self._result(run, throttled, *each) for each in measured]

    def _run_facts(self, after: Conditions) -> RunFacts:
        facts = machine.describe_machine()
        warnings = machine.warnings_about(self.before, after)
        return {
            "result_format": RESULT_FORMAT,
            "started": self.started,
            "machine": facts,
            "conditions_before": self.before,
            "conditions_after": after,
            "warnings": [*warnings, EMULATED] if facts.get("emulated") else warnings,
            "settings": self.settings,
            "clock_overhead_ns": clock_overhead_ns(),
            "peak_memory_bytes": _peak_memory_bytes(),
        }

    def _result(
        self,
        run: RunFacts,
        throttled: str | None,
        stream: Stream,
        verification: Verification | None,
        latency: ModelLatency | PacedLatency,
    ) -> Measured:
        front_end, warnings = _measure_front_end(stream)
        reasons = [throttled] if throttled else []
        window = stream.model.contract.window
        reasons += _doubts(stream, verification, latency, self.percentile)
        result: BenchResult = {
            **run,
            "warnings": run["warnings"] + warnings + _placement_warnings(stream),
            **_model_facts(stream),
            "backend_choice": stream.backend.choice,
            "verification": None if verification is None else verification.to_json(),
            "unverified": stream.model.unverified,
            "valid": not reasons,
            "invalid_reason": "; ".join(reasons) or None,
            "latency_ns": _latency_facts(latency),
            "front_end_ns": None if front_end is None else cast(LatencyFacts, asdict(front_end)),
            "energy": _measure_energy(stream),
            "window": cast("WindowFacts | None", window and asdict(window)),
            "rows": stream.model.contract.rows,
        }
        written, lost = strict_json.finite(result)
        written["warnings"] += [f"{text}, written as null" for text in lost]
        return Measured(cast(BenchResult, written), latency.samples)


def _model_facts(stream: Stream) -> ModelFacts:
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
        "placement": None if placement is None else cast(PlacementFacts, asdict(placement)),
        "wants_accelerator": stream.backend.wants_accelerator,
        # A microcontroller's runtime tells how much memory it needs.
        "arena_bytes": getattr(stream.backend, "arena_bytes", None),
    }


def _latency_facts(latency: ModelLatency | PacedLatency) -> BackToBackFacts | PacedFacts:
    facts = asdict(replace(latency, samples=None))
    del facts["samples"]
    return cast("BackToBackFacts | PacedFacts", facts)


def _measure_energy(stream: Stream) -> EnergyFacts | None:
    from device_runner.measure import energy

    meter = energy.find_meter()
    if meter is None:
        return None
    from device_runner.measure.energy import measurement

    found = measurement.measure_energy(meter, stream)
    return None if found is None else found.to_json()


def _measure_front_end(stream: Stream) -> tuple[Latency | None, list[str]]:
    """Measure how long a frame takes to make from sound, if the model reads sound.

    Returns:
        The latency, and a warning if it cannot be measured.
    """
    if stream.model.contract.front_end is None:
        return None, []
    from device_runner.front_ends import sound_front_end
    from device_runner.measure.frame_making import time_front_end

    front_end = sound_front_end(stream.model.contract.front_end)
    if front_end is None:
        return None, []
    try:
        return time_front_end(front_end), []
    except MissingRuntimeError as error:
        return None, [f"the front end was not measured: {error.message}"]


def _placement_warnings(stream: Stream) -> list[str]:
    """Say so if an accelerator took a part of the operators, or does not tell which."""
    backend, file = stream.backend, stream.model.path.name
    if not backend.wants_accelerator:
        return []
    placement = backend.placement()
    if placement is None:
        return [f"{file}: {backend.name} does not tell which operators it took, perhaps none"]
    if not placement.on_cpu:
        return []
    total = len(placement.delegated) + len(placement.on_cpu)
    return [
        f"{file}: {len(placement.on_cpu)} of {total} operators are on the CPU, not on "
        f"{placement.accelerator}: {', '.join(sorted(set(placement.on_cpu)))}"
    ]


def _doubts(
    stream: Stream,
    verification: Verification | None,
    latency: ModelLatency | PacedLatency,
    percentile: float | None,
) -> list[str]:
    """List why a result must not be trusted."""
    doubts = []
    if verification is not None and verification.failure:
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
    """Return this process's largest memory so far, with Python and the runtime."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
