"""Measure files on devices: one at a time on each, beside a control model.

The control model is the same file in all measurements of a sweep. What it takes says whether the
device was as it usually is; where it was not, or where a result is INVALID, the measurement is
thrown out and made again.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.own_process import module_command
from device_runner.model.step_file import load_step_model
from pipeline.errors import DeviceError, PipelineError
from pipeline.sweep.settings import MeasuringSection

# How many percent of the control's measurements tell how fast it usually is.
HELD = "p50"


@dataclass(frozen=True)
class Measurement:
    """What a frame costs on a device: its front end, where the model has one for sound, and a step.

    Both are measured one after the other. The sum of their percentiles is that of their sum where
    both are slow at the same moments, and usually more than it.

    Attributes:
        p50_ns: the median of the repeats.
        p99_ns: the median over the rounds of all repeats.
        whole_p99_ns: the 99th percentile over all steps, with what disturbed a few rounds; the
            median of the repeats. A deadline is held against it.
        front_end, front_end_p99_ns: the front end in its contract's words, and its share in p99_ns;
            "" and 0 where there is none.
        low_ns, high_ns: the smallest and largest median over a repeat's rounds.
        control_p50_ns: the control model's median beside it.
        thrown_out: why measurements before were not taken, in order.
        steady: whether the control model was as fast as it usually is.
    """

    p99_ns: int
    whole_p99_ns: int
    p50_ns: int
    low_ns: int
    high_ns: int
    control_p50_ns: int
    front_end: str
    front_end_p99_ns: int
    thrown_out: tuple[str, ...]
    steady: bool
    results: tuple[dict[str, Any], ...]


#: Measures files once, side by side; a result for each, in their order.
Bench = Callable[[list[Path]], list[dict[str, Any]]]


def front_end_of(file: Path) -> str:
    """Return what tells a file's front end from others; "" where it has none."""
    found = load_step_model(file).contract.front_end
    return json.dumps(found, sort_keys=True) if found else ""


class MeasuringQueue:
    """The one worker that measures on a device.

    Args:
        name: the device's name.
        control: the control model's file.
        usual_ns: the control's usual median step; None to find it out.
        quiet: a context in which nothing else runs on the device.
        bench: what measures; by default what the settings say.
        told: what tells a file's front end from others.

    Attributes:
        front_ends: what each front end takes, 99th percentile in nanoseconds. It is the same for
            all networks behind it, so it is measured with the first one, and does not blur how
            they differ.
    """

    def __init__(
        self,
        name: str,
        settings: MeasuringSection,
        control: Path,
        usual_ns: int | None = None,
        quiet: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        bench: Bench | None = None,
        told: Callable[[Path], str] = front_end_of,
    ) -> None:
        self.name, self.settings, self.control = name, settings, control
        self.usual_ns, self.quiet = usual_ns, quiet
        self.bench, self.told = bench or _bench_of(name, settings), told
        self.front_ends: dict[str, int] = {}
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"measure {name}")
        self.ending = threading.Event()

    def submit(self, file: Path) -> Future[Measurement]:
        """Measure a file when it is its turn."""
        return self.thread.submit(self.measure, file)

    def learn_control(self) -> int:
        """Measure the control model alone, and keep its median, in nanoseconds, as usual."""
        with self.quiet():
            results = [self.bench([self.control])[0] for _ in range(self.settings.repeats)]
        invalid = [one["invalid_reason"] for one in results if not one["valid"]]
        if invalid:
            raise PipelineError(f"{self.name}: the control model's result is INVALID: {invalid[0]}")
        self.usual_ns = round(statistics.median(_percentile(one, HELD) for one in results))
        return self.usual_ns

    def measure(self, file: Path) -> Measurement:
        """Measure a file as often as the settings say.

        Raises:
            PipelineError: it cannot be measured, or all results are INVALID.
        """
        taken: list[tuple[float, dict[str, Any], dict[str, Any]]] = []
        reasons: list[str] = []
        attempts = self.settings.attempts
        unsteady: list[tuple[float, dict[str, Any], dict[str, Any]]] = []
        while len(taken) < self.settings.repeats and not self.ending.is_set():
            with self.quiet():
                control, result = self.bench([self.control, file])
            bad = [one for one in (control, result) if not one["valid"]]
            off = _percentile(control, HELD) / (self.usual_ns or _percentile(control, HELD)) - 1
            if not bad and abs(off) <= self.settings.tolerance:
                taken.append((off, control, result))
                continue
            reasons.append(
                f"INVALID: {bad[0]['invalid_reason']}" if bad
                else f"the control model took {off:+.0%} of its usual time"
            )  # fmt: skip
            if not bad:
                unsteady.append((abs(off), control, result))
            if len(reasons) >= attempts:
                break
        steady = len(taken) == self.settings.repeats
        if not steady:
            unsteady.sort(key=lambda one: one[0])
            taken += unsteady[: self.settings.repeats - len(taken)]
        if not taken:
            raise PipelineError(f"{self.name}: no measurement can be trusted: {reasons[-1]}")
        key = self.told(file)
        if key not in self.front_ends:
            # The least disturbed of the repeats.
            self.front_ends[key] = min(_front_end(result, "p99") for _, _, result in taken)
        return _summary(taken, reasons, steady, key, self.front_ends[key])

    def close(self) -> None:
        """Measure nothing more."""
        self.ending.set()
        self.thread.shutdown(wait=False, cancel_futures=True)


def _summary(
    taken: list[tuple[float, dict[str, Any], dict[str, Any]]],
    reasons: list[str],
    steady: bool,
    front_end: str,
    front_end_ns: int,
) -> Measurement:
    results = [result for _, _, result in taken]
    by_repeat = [steady_p99(one) + front_end_ns for one in results]
    rounds = [one for result in results for one in _rounds(result)]
    whole = statistics.median(_percentile(one, "p99") for one in results)
    return Measurement(
        p99_ns=round(statistics.median(rounds)) + front_end_ns,
        whole_p99_ns=round(whole) + front_end_ns,
        p50_ns=round(
            statistics.median(_percentile(one, "p50") + _front_end(one, "p50") for one in results)
        ),
        low_ns=min(by_repeat),
        high_ns=max(by_repeat),
        control_p50_ns=round(statistics.median(_percentile(one, HELD) for _, one, _ in taken)),
        front_end=front_end,
        front_end_p99_ns=front_end_ns,
        thrown_out=tuple(reasons),
        steady=steady,
        results=tuple(results),
    )


def steady_p99(result: dict[str, Any]) -> int:
    """Return the 99th percentile of a step, the median over the rounds of a result of bench.

    A round is a few milliseconds. What else a machine does disturbs a step in some of them, and
    decides the slowest hundredth of all steps; it is not in what most rounds say."""
    return round(statistics.median(_rounds(result)))


def _rounds(result: dict[str, Any]) -> list[int]:
    """The 99th percentile of each round; of the whole where rounds are too short for one."""
    found: list[int] = result["latency_ns"]["step"].get("round_p99", [])
    return found or [_percentile(result, "p99")]


def _front_end(result: dict[str, Any], name: str) -> int:
    found = result.get("front_end_ns")
    return int(found["percentiles"][name]) if found else 0


def _percentile(result: dict[str, Any], name: str) -> int:
    found = result["latency_ns"]["step"]["percentiles"][name]
    if found is None:
        raise PipelineError(f"{result['file']}: too few steps for {name}; raise 'steps'")
    return int(found)


def _bench_of(name: str, settings: MeasuringSection) -> Bench:
    options = ["--backend", settings.backend, "--threads", str(settings.threads)]
    options += ["--steps", str(settings.steps), "--rounds", str(settings.rounds)]
    options += ["--warmup", str(settings.warmup_s)]
    if not settings.host:
        return lambda files: _bench_here(files, options)
    return lambda files: _bench_there(name, settings, files, options)


def _bench_here(files: list[Path], options: list[str]) -> list[dict[str, Any]]:
    command = [*module_command("device_runner"), "bench", "--json", *options, *map(str, files)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(files):
        message = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        raise PipelineError(f"the benchmark failed: {message[-1]}")
    return lines


def _bench_there(
    name: str, settings: MeasuringSection, files: list[Path], options: list[str]
) -> list[dict[str, Any]]:
    from pipeline.remote.bench import bench_devices
    from pipeline.remote.inventory import choose_devices

    (device,) = choose_devices([settings.host], settings.inventory).values()
    if settings.python:
        device = device.model_copy(update={"python": settings.python})
    found: list[dict[str, Any]] = []
    failures = bench_devices({name: device}, files, options, found.append, lambda *_: None)
    if len(found) != len(files):
        raise failures.get(name) or DeviceError(f"{name}: not all results arrived; run it again")
    return found
