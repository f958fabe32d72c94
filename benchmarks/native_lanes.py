"""How much faster libedgestep steps many lanes in one call than one lane after another.

A Keras GRU over windows of 64 frames that is asked at every frame is stepped in 64 lanes: a frame
goes into all of them. ``one`` is the same GRU in one lane, of which 64 steps, one after another,
would do the same. Nanoseconds of a call on stored bytes, in C, one thread; medians of interleaved
rounds. ``times`` is how much faster the lanes are than 64 calls of ``one``. ``litert`` is the bare
invoke of the same two files with stock XNNPACK, of which the time of an empty call is taken off.

    python benchmarks/native_lanes.py [--units 64] [--lanes 64] [--folder F] [--json]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from native_kernels import FRAMES, invoked
from native_library import Steps, timer
from record import write_record

from device_runner.measure.machine import describe_machine
from device_runner.model.step_file import load_step_model
from models.tensorflow_log import load_tensorflow

INPUTS, OUTPUTS, ROUNDS = 40, 9, 41
ROUND_NS = 2_000_000
SCHEMES = ("float32", "int8")


def step_files(units: int, lanes: int, folder: Path) -> list[tuple[str, Path, Path]]:
    """Make a network over windows and convert it; return scheme, file in lanes, file of one."""
    load_tensorflow()
    import keras

    keras.utils.set_random_seed(1)
    frames = keras.Input((lanes, INPUTS))
    model = keras.Model(frames, keras.layers.Dense(OUTPUTS)(keras.layers.GRU(units)(frames)))
    network, data = folder / "network.keras", folder / "frames.npy"
    model.save(network)
    random = np.random.default_rng(1).normal(size=(8 * lanes, INPUTS))
    np.save(data, random.astype(np.float32))
    files: list[tuple[str, Path, Path]] = []
    for scheme in SCHEMES:
        pair: list[Path] = []
        for name, options in (("lanes", ["--hop", "1"]), ("one", ["--carry"])):
            path = folder / f"gru-{units}-{lanes}-{name}-{scheme}.tflite"
            pair.append(path)
            if path.exists():
                continue
            command = [sys.executable, "-m", "edgestep", "convert", str(network), "--target", "cpu"]
            command += ["--scheme", scheme, "--data", str(data), "--output", str(path), *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise click.ClickException(done.stderr.strip().splitlines()[-1])
        files.append((scheme, pair[0], pair[1]))
    return files


def ways_to_step(path: Path, name: str) -> dict[str, Callable[[int], float]]:
    """Return what times a number of steps of a file, in nanoseconds of one."""
    model = load_step_model(path)
    spec, generator = model.contract.input, np.random.default_rng(8)
    if spec.scale is None:
        values = generator.normal(0, 1, (FRAMES, *spec.shape))
    else:
        values = generator.integers(-100, 101, (FRAMES, *spec.shape)).astype(float)
    frames = values.astype(spec.dtype).tobytes()
    steps = Steps(path, frames)
    return {
        name: lambda count: statistics.mean(
            steps.nanoseconds() for _ in range(max(1, count // FRAMES))
        ),
        f"litert {name}": invoked(model.flatbuffer, frames[: len(frames) // FRAMES]),
    }


def compare(scheme: str, many: Path, one: Path, lanes: int) -> dict[str, Any]:
    """Measure one scheme."""
    ways = {**ways_to_step(many, "lanes"), **ways_to_step(one, "one")}
    counts = {name: max(1, int(ROUND_NS / way(200))) for name, way in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(way(counts[name]))
    row: dict[str, Any] = {"scheme": scheme}
    row |= {name: statistics.median(times) for name, times in found.items()}
    row["times"] = lanes * row["one"] / row["lanes"]
    row["litert times"] = lanes * row["litert one"] / row["litert lanes"]
    row["faster than litert"] = row["litert lanes"] / row["lanes"]
    return row


@click.command(help=__doc__)
@click.option("--units", default=64, show_default=True)
@click.option("--lanes", default=64, show_default=True)
@click.option("--folder", type=Path, help="Where step models are kept from run to run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(units: int, lanes: int, folder: Path | None, as_json: bool) -> None:
    """Measure each scheme and print a row for each."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for scheme, many, one in step_files(units, lanes, kept):
            rows.append(row := compare(scheme, many, one, lanes))
            click.echo(
                json.dumps(row)
                if as_json
                else f"{scheme:8} {row['lanes']:9,.0f} ns in {lanes} lanes, "
                f"{row['one']:7,.0f} in one: "
                f"{row['times']:.1f} times; litert {row['litert lanes']:9,.0f}, "
                f"{row['litert one']:7,.0f}: {row['litert times']:.1f} times; "
                f"{row['faster than litert']:.2f} times faster than litert"
            )
    kernels = timer().es_instruction_set().decode()
    click.echo(f"medians of {ROUNDS} rounds; {kernels} kernels; {describe_machine()}")
    write_record("native_lanes", "lanes in one call beside one after another", rows)


if __name__ == "__main__":
    main()
