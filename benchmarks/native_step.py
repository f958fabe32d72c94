"""What a step costs in libedgestep, beside LiteRT: from real values to real values, and of bytes.

LSTMs and GRUs of 12 inputs with random weights, calibrated on japanese-vowels, in float32 and int8.
Both backends step the same file and the same frames in interleaved rounds; one thread. The outputs
of all frames are compared first.

    python benchmarks/native_step.py [--units 16,64,...] [--json]
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import tf_keras as keras
from record import write_record

from calibration.rollout import long_streams
from convert.export import export, float_step
from device_runner.measure.machine import describe_machine
from device_runner.stream import Stream
from models.network import Architecture
from models.tasks import load_task

BACKENDS = ("litert", "native")
CELLS = ("lstm", "gru")
SCHEMES = ("float32", "int8")
ROUNDS, STEPS = 40, 400


def step_files(cell: str, units: int, folder: Path) -> dict[str, Path]:
    """Write a network's step model in each scheme."""
    task = load_task("japanese-vowels")
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (units,), len(task.channels), len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 500, 1))
    files = {scheme: folder / f"{cell}-{units}-{scheme}.tflite" for scheme in SCHEMES}
    for scheme, path in files.items():
        export(network, architecture, task, scheme, path, step, ranges)
    return files


def timed(step: Callable[[Any], object], frames: list[Any]) -> float:
    """Return the microseconds of a step, over all frames."""
    start = time.perf_counter_ns()
    for frame in frames:
        step(frame)
    return (time.perf_counter_ns() - start) / len(frames) / 1e3


def compare(path: Path) -> dict[str, Any]:
    """Measure one file on both backends."""
    streams = {name: Stream(path, name) for name in BACKENDS}
    shape = streams["litert"].model.golden.x.shape[1:]
    x = np.resize(streams["litert"].model.golden.x, (STEPS, *shape)).astype(np.float32)
    outputs = [np.asarray(stream.run(x)) for stream in streams.values()]
    values = list(x)
    stored = [bytes(streams["litert"]._encode(frame)) for frame in values]
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, stream in streams.items():
            times.setdefault(f"{name} values", []).append(timed(stream.step, values))
            times.setdefault(f"{name} bytes", []).append(timed(stream.step_bytes, stored))
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "file": path.stem,
        **medians,
        "values ratio": statistics.median(
            a / b for a, b in zip(times["litert values"], times["native values"], strict=True)
        ),
        "bytes ratio": statistics.median(
            a / b for a, b in zip(times["litert bytes"], times["native bytes"], strict=True)
        ),
        "largest difference": float(np.abs(outputs[0] - outputs[1]).max()),
    }


@click.command(help=__doc__)
@click.option("--units", default="16,32,64,128,256", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(units: str, as_json: bool) -> None:
    """Measure every network and print a row for each."""
    rows = []
    click.echo(f"{'':22}{'Stream.step us':>26}{'step_bytes us':>26}")
    click.echo(
        f"{'file':22}{'litert':>9}{'native':>9}{'ratio':>8}{'litert':>9}{'native':>9}{'ratio':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for cell in CELLS:
            for size in units.split(","):
                for path in step_files(cell, int(size), Path(folder)).values():
                    row = compare(path)
                    rows.append(row)
                    if as_json:
                        click.echo(json.dumps(row))
                        continue
                    cells = "".join(
                        f"{row[f'litert {kind}']:9.2f}{row[f'native {kind}']:9.2f}"
                        f"{row[f'{kind} ratio']:7.2f}x"
                        for kind in ("values", "bytes")
                    )
                    click.echo(f"{row['file']:22}{cells}")
    machine = describe_machine()
    click.echo(f"medians of {ROUNDS} rounds of {STEPS} steps; {machine}")
    write_record("native_step", "libedgestep beside LiteRT", rows)


if __name__ == "__main__":
    main()
