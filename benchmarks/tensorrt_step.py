"""One step in TensorRT on an NVIDIA GPU: a step model built into an engine and timed.

Each float32 step model is written as ONNX in memory and built into an engine, in float32 without
TF32 (seconds to a minute). The states stay on the GPU in two buffers that take turns, the frame
goes in and the outputs come back, as in a live stream. Each step is measured in two ways: its parts
queued one by one, and recorded as a CUDA graph and replayed. Both are held to the golden sequences
and to LiteRT's outputs on the CPU; then they and LiteRT (one thread) take turns in one interleaved
run. Printed are the largest difference from LiteRT as a share of the outputs' range, and p50 and
p99 of a step, the wait for the output included, in microseconds.

    python benchmarks/tensorrt_step.py [--steps N] [--seconds S] [--cublas] FILE.tflite...

Needs an NVIDIA GPU with its driver, and "pip install tensorrt cuda-bindings onnx". No further file
is begun once --seconds (default 300) are over.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from record import write_record
from tensorrt_engine import Cuda, TensorRtBackend, TensorRtStream, build_engine, import_tensorrt

from convert.exporters.onnx import to_onnx
from device_runner.errors import DeviceRunnerError, VerificationError
from device_runner.measure.latency import BenchSettings, golden_frames, measure
from device_runner.measure.machine import describe_machine
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify

CHECKED_FRAMES = 200
# The largest difference from LiteRT, as a share of the outputs' range.
ALLOWED = 1e-3
ROUNDS = 10
# The percentile of the whole step that is printed beside the median.
TAIL = "p99"


def compare(model: StepModel, cuda: Cuda, steps: int, cublas: bool) -> dict[str, Any]:
    """Build a model, check it, and time its steps.

    Raises:
        VerificationError: its outputs are not the golden ones, or not LiteRT's.
    """
    begin = time.perf_counter()
    engine = build_engine(model, cublas)
    built_s = time.perf_counter() - begin
    streams: dict[str, Stream] = {
        "queued": TensorRtStream(model, TensorRtBackend(model, cuda, engine, graph=False)),
        "graph": TensorRtStream(model, TensorRtBackend(model, cuda, engine, graph=True)),
        "litert": Stream(model, "litert"),
    }
    for stream in streams.values():
        found = verify(stream)
        if found.failure:
            raise found.error(model.path)
    errors = {name: _difference(streams[name], streams["litert"]) for name in ("queued", "graph")}
    settings = BenchSettings(steps=steps, rounds=ROUNDS)
    row: dict[str, Any] = {"file": model.path.name, "built_s": built_s, "errors": errors}
    for name, latency in zip(streams, measure(list(streams.values()), settings), strict=True):
        for percentile in ("p50", TAIL):
            value = latency.step.percentiles[percentile]
            row[f"{name}_{percentile}"] = None if value is None else value / 1e3
    return row


def _difference(own: Stream, other: Stream) -> float:
    """Step without a reset; return the largest difference as a share of the outputs' range.

    Raises:
        VerificationError: it is above ALLOWED.
    """
    golden = golden_frames(own)
    frames = [golden[number % len(golden)] for number in range(CHECKED_FRAMES)]
    values = []
    for stream in (own, other):
        stream.reset()
        values.append(np.stack([np.frombuffer(stream.step_bytes(x), np.float32) for x in frames]))
    error = float(np.abs(values[0] - values[1]).max() / np.ptp(values[1]))
    if not error <= ALLOWED:
        raise VerificationError(
            f"{own.model.path}: the outputs differ from LiteRT's by {error:.2%}"
        )
    return error


def write_ratios(version: str, gpu: str, rows: list[dict[str, Any]]) -> None:
    """Write the steps, recorded as graphs, relative to LiteRT's on the CPU."""
    ratios = {row["file"].partition(".")[0]: row["graph_p50"] / row["litert_p50"] for row in rows}
    best, worst = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    write_record(
        "tensorrt_step",
        f"{best} and {worst}, the best and the worst of {len(rows)}, in TensorRT {version} on "
        f"{gpu} against one core of {describe_machine()['model']}",
        rows,
        p50=f"{ratios[best]:.2g} x and {ratios[worst]:.2g} x",
        score=f"the same outputs to {max(max(row['errors'].values()) for row in rows):.0e}",
    )


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=5000, show_default=True, type=click.IntRange(1000))
@click.option("--seconds", default=300.0, show_default=True, help="No file is begun after it.")
@click.option("--cublas", is_flag=True, help="Try cuBLAS's kernels, too; it must be installed.")
def main(files: tuple[Path, ...], steps: int, seconds: float, cublas: bool) -> None:
    """Build and time each of FILES."""
    begin = time.monotonic()
    models = [load_step_model(file) for file in files]
    for model in models:
        to_onnx(model)  # refuses what is not float32 before a GPU is asked for
    version = import_tensorrt().__version__
    cuda = Cuda()
    click.echo(f"TensorRT {version} on {cuda.device}; CPU: {describe_machine()['model']}, 1 thread")
    click.echo(
        f"| file | built, s | error | queued p50 | {TAIL} | graph p50 | {TAIL} "
        f"| LiteRT p50 | {TAIL} |\n{'|---' * 9}|"
    )
    rows = []
    for model in models:
        if time.monotonic() - begin > seconds:
            click.echo(f"{model.path}: left out, {seconds:g} s are over", err=True)
            continue
        try:
            row = compare(model, cuda, steps, cublas)
        except DeviceRunnerError as error:  # the next file may do
            click.echo(error.message, err=True)
            continue
        rows.append(row)
        times = [
            row[f"{way}_{percentile}"]
            for way in ("queued", "graph", "litert")
            for percentile in ("p50", TAIL)
        ]
        shown = " | ".join("" if value is None else f"{value:.1f}" for value in times)
        worst = max(row["errors"].values())
        click.echo(f"| {row['file']} | {row['built_s']:.1f} | {worst:.1e} | {shown} |")
    if rows:
        write_ratios(version, cuda.device, rows)
    if len(rows) < len(models):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
