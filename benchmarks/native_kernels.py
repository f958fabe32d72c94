"""What a step costs in libedgestep's kernels, beside LiteRT's bare invoke and the least there is.

Networks of 40 inputs with random weights. Nanoseconds of one step of stored bytes, one thread,
medians of interleaved rounds after a warm-up; +- is half the distance of the quartiles. ``litert``
is the interpreter's invoke with stock XNNPACK, of which the time of an empty call from Python is
taken off; its input stays the same, and nobody hands its state on. ``libedgestep`` is stepped by a
loop in C. ``floor`` is the time in which this core reads as many bytes as the weights have, once.

    python benchmarks/native_kernels.py [--cells lstm,gru] [--units 16,32,...] [--without AVX512]
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import native_library
import numpy as np
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter
from native_library import Block, Steps, read_nanoseconds, timer
from numpy.typing import NDArray
from record import write_record

from calibration.rollout import long_streams
from convert.export import export, float_step
from device_runner.measure.machine import describe_machine
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from models.network import Architecture
from models.tasks import load_task
from models.tasks.task import Task
from models.tensorflow_log import quiet

INPUTS, FRAMES = 40, 64
# A round lasts about as long for every model.
ROUNDS, ROUND_NS = 41, 2_000_000


def wide_task() -> Task:
    """japanese-vowels, whose 12 channels are mixed into 40."""
    task = load_task("japanese-vowels")
    mix = np.random.default_rng(1).normal(0, 0.3, (len(task.channels), INPUTS)).astype(np.float32)

    def widen(part: Any) -> Any:
        return replace(part, sequences=[sequence @ mix for sequence in part.sequences])

    return replace(
        task,
        channels=tuple(f"channel {n}" for n in range(INPUTS)),
        **{part: widen(getattr(task, part)) for part in ("train", "validation", "test")},
    )


def step_files(task: Task, cell: str, units: int, schemes: list[str], folder: Path) -> list[Path]:
    """Write a network's step model in each scheme."""
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (units,), INPUTS, len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, 500, 1))
    files = [folder / f"{cell}-{units}-{scheme}.tflite" for scheme in schemes]
    for scheme, path in zip(schemes, files, strict=True):
        if not path.exists():
            export(network, architecture, task, scheme, path, step, ranges)
    return files


def invoked(flatbuffer: bytes, x: bytes) -> Callable[[int], float]:
    """Return what times a number of bare invokes, in nanoseconds of one."""
    with quiet():
        interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
        interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        zeros = np.zeros(details["shape"], details["dtype"])
        if zeros.nbytes == len(x):
            zeros = np.frombuffer(x, details["dtype"]).reshape(details["shape"])
        interpreter.set_tensor(details["index"], zeros)
    invoke, empty = interpreter._interpreter.Invoke, interpreter._interpreter.NumSubgraphs

    def timed(call: Callable[[], object], count: int) -> float:
        start = time.thread_time_ns()
        for _ in range(count):
            call()
        return (time.thread_time_ns() - start) / count

    return lambda count: timed(invoke, count) - timed(empty, count)


def weight_bytes(flatbuffer: bytes) -> int:
    """Return the size of all matrices."""
    tensors = read_graph(flatbuffer).tensors
    return sum(t.constant_bytes for t in tensors if len(t.shape) > 1)


def compare(path: Path) -> dict[str, Any]:
    """Measure one model."""
    model = load_step_model(path)
    generator = np.random.default_rng(8)
    spec = model.contract.input
    if spec.scale is None:
        values: NDArray[Any] = generator.normal(0, 1, (FRAMES, *spec.shape))
    else:
        values = generator.integers(-100, 101, (FRAMES, *spec.shape))
    frames = values.astype(spec.dtype).tobytes()
    steps, size = Steps(path, frames), weight_bytes(model.flatbuffer)
    invoke, block = invoked(model.flatbuffer, frames[: len(frames) // FRAMES]), Block(size + 512)
    ways: dict[str, Callable[[int], float]] = {
        "litert": invoke,
        "libedgestep": lambda count: statistics.mean(
            steps.nanoseconds() for _ in range(max(1, count // FRAMES))
        ),
        "floor": lambda count: read_nanoseconds(block, size, count),
    }
    counts = {name: max(1, int(ROUND_NS / way(200))) for name, way in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name].append(way(counts[name]))
    row: dict[str, Any] = {"file": path.stem, "weight bytes": size}
    for name, times in found.items():
        low, row[name], high = statistics.quantiles(times, n=4)
        row[f"{name} +-"] = (high - low) / 2
    row["times faster"] = row["litert"] / row["libedgestep"]
    row["of the floor"] = row["libedgestep"] / row["floor"]
    return row


def print_row(row: dict[str, Any]) -> None:
    """Print what ``compare`` found."""
    times = "".join(
        f"{row[name]:9.0f} +-{row[f'{name} +-']:5.0f}"
        for name in ("litert", "libedgestep", "floor")
    )
    click.echo(f"{row['file']:32}{times}{row['times faster']:9.2f}x{row['of the floor']:9.2f}x")


@click.command(help=__doc__)
@click.option("--cells", default="lstm,gru", show_default=True)
@click.option("--units", default="16,32,64,128,256,512", show_default=True)
@click.option("--schemes", default="float32,float16,int8", show_default=True)
@click.option("--folder", type=Path, help="Where step models are kept from run to run.")
@click.option("--without", multiple=True, help="An instruction set to leave out: AVX512, AVX2.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(
    cells: str,
    units: str,
    schemes: str,
    folder: Path | None,
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure every network and print a row for each."""
    native_library.without.extend(without)
    task, rows = wide_task(), []
    heads = "".join(f"{name:>16}" for name in ("litert ns", "libedgestep ns", "floor ns"))
    click.echo(f"{'file':32}{heads}{'faster':>10}{'of floor':>10}")
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for cell in cells.split(","):
            for size in units.split(","):
                names = schemes.split(",")
                files = [kept / f"{cell}-{size}-{scheme}.tflite" for scheme in names]
                if not all(file.exists() for file in files):
                    files = step_files(task, cell, int(size), names, kept)
                for path in files:
                    rows.append(compare(path))
                    click.echo(json.dumps(rows[-1])) if as_json else print_row(rows[-1])
    kernels = timer().es_instruction_set().decode()
    click.echo(f"medians of {ROUNDS} rounds; {kernels} kernels; {describe_machine()}")
    write_record("native_kernels", "libedgestep's kernels beside LiteRT's", rows)


if __name__ == "__main__":
    main()
