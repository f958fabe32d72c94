"""``bench``: what one step of each model costs on this device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from device_runner.backends.backend import LoadOptions
from device_runner.commands.options import (
    backend_option,
    force_option,
    json_option,
    load_options,
)
from device_runner.commands.progress import show_progress
from device_runner.containment import contained, stepping
from device_runner.errors import VerificationError
from device_runner.measure import benchmark
from device_runner.measure.latency import PERCENTILES, BenchSettings
from device_runner.measure.paced import PacedSettings
from device_runner.measure.result import BenchResult
from device_runner.opening import open_any_stream
from device_runner.output_file import check_samples, samples_file
from device_runner.printable import echo
from device_runner.stream import Stream


@click.command("bench")
@click.argument("files", nargs=-1, required=True)
@backend_option
@load_options
@click.option("--steps", type=click.IntRange(100), default=BenchSettings.steps, show_default=True,
              help="Timed steps of each model; p99.9 needs 10,000.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=BenchSettings.rounds, show_default=True,
              help="Rounds in which the models take turns.")  # fmt: skip
@click.option("--warmup", type=click.FloatRange(0, 60), default=BenchSettings.warmup_s,
              show_default=True, help="Untimed run-up of each model, in seconds.")  # fmt: skip
@click.option("--data", metavar="FILE",
              help="Frames (.npy, .npz, .csv) of files without a contract; zeros.")  # fmt: skip
@click.option("--paced", is_flag=True,
              help="One frame per frame period, sleeping between; models in turn.")  # fmt: skip
@click.option("--period", type=click.FloatRange(0, 3600, min_open=True),
              help="Paced: seconds between frames, if not the model's own.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, 7 * 86400, min_open=True),
              default=PacedSettings.duration_s, show_default=True,
              help="Paced: seconds that each model is measured.")  # fmt: skip
@click.option("--percentile", type=click.Choice([f"{value:g}" for value in PERCENTILES]),
              help="A percentile that you need: without enough samples, INVALID.")  # fmt: skip
@click.option("--cpu", "cpus", type=click.IntRange(0), multiple=True,
              help="Run on this CPU only; may be repeated.")  # fmt: skip
@click.option("--realtime", type=click.IntRange(1, 99), metavar="PRIORITY",
              help="Run at this real-time priority (SCHED_FIFO); needs the right to.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Append the results to this file, one JSON object per line.")  # fmt: skip
@click.option("--samples", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write every step's nanoseconds to FOLDER/MODEL.npy.")  # fmt: skip
@json_option
@force_option
@contained
def bench(
    files: tuple[str, ...],
    backend: str,
    options: LoadOptions,
    data: str | None,
    percentile: str | None,
    cpus: tuple[int, ...],
    realtime: int | None,
    output: Path | None,
    samples: Path | None,
    as_json: bool,
    force: bool,
    **how: Any,
) -> None:
    """Measure what one step of each model costs on this device.

    FILES are step models, or any TFLite files: their states are fed back where they can be told by
    equal shapes, and the result says that nothing was verified.

    Back to back, models taking turns; or, with --paced, at the pace of real use. A result that
    must not be trusted is marked INVALID, with the reason, and makes the exit code 5.
    """
    from device_runner.measure.scheduling import scheduled

    circumstances = benchmark.Circumstances(
        options.threads, cpus, realtime, None if percentile is None else float(percentile)
    )
    if samples:
        check_samples(samples, files, force)
    results = _Results(output, samples, as_json)
    with scheduled(cpus, realtime):
        streams = [open_any_stream(file, backend, options, data) for file in files]
        keep_samples = samples is not None
        if how["paced"]:
            pace = PacedSettings(how["duration"], how["period"], keep_samples)
            _measure_paced(streams, pace, circumstances, results)
        else:
            settings = BenchSettings(how["steps"], how["rounds"], how["warmup"], keep_samples)
            with show_progress("measuring") as progress, stepping(", ".join(files)):
                found = benchmark.bench(streams, settings, circumstances, progress)
            for measured in found:
                results.keep(measured)
    if not as_json:
        from device_runner.measure.result_table import format_results

        echo(format_results(results.found))
    for stream, result in zip(streams, results.found, strict=True):
        if not result["valid"]:
            raise VerificationError(f"{stream.model.path}: {result['invalid_reason']}")


def _measure_paced(
    streams: Sequence[Stream],
    pace: PacedSettings,
    circumstances: benchmark.Circumstances,
    results: _Results,
) -> None:
    """Measure one model after the other, and keep each result as soon as there is one."""
    for stream in streams:
        path = stream.model.path
        with show_progress(path.name) as progress, stepping(path):
            measured = benchmark.bench_paced(stream, pace, circumstances, progress)
        results.keep(measured)


@dataclass
class _Results:
    """Where results go.

    ``found`` keeps them. The file ``output`` and the folder ``samples`` get them if they are named;
    standard output gets them if JSON is wanted.
    """

    output: Path | None
    samples: Path | None
    as_json: bool
    found: list[BenchResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make and check the places now, as a measurement may take hours."""
        if self.samples:
            self.samples.mkdir(parents=True, exist_ok=True)
        if self.output:
            from device_runner.measure.result_log import check_appendable

            check_appendable(self.output)

    def keep(self, measured: benchmark.Measured) -> None:
        result = measured.result
        self.found.append(result)
        if self.output:
            from device_runner.measure.result_log import append_result

            append_result(self.output, result)
        if self.samples and measured.samples is not None:
            np.save(samples_file(self.samples, result["file"]), measured.samples)
        if self.as_json:
            echo(json.dumps(result, allow_nan=False))
