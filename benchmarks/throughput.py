"""Steps a second of many independent streams on one model: throughput beside latency.

Ways to step N streams: one after another in one thread, each with a model loaded for it; the same
on one loaded model, whose state is exchanged (``Streams``); the first shared among as many threads
as there are cores; as the rows of one call of a file that takes N rows (:mod:`convert.rows`), on
libedgestep and on LiteRT; and as such calls in as many threads as there are cores, each with a
share of the rows. On a GPU there are rows alone: ``--rows-on litert-gpu`` and, for float32 models,
``--rows-on tensorrt``. Every row is held against the golden sequences first. A round steps every
stream once; ways and numbers take turns. The figure is that of the fastest round, as other work on
the machine only takes away.

Without files, networks of 40 inputs with random weights are measured.

    python benchmarks/throughput.py [FILE...] [--cells gru,lstm] [--units 128] [--rounds 5]
                                    [--rows-on BACKEND]... [--only-rows]
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from record import write_record

from convert.rows import with_rows
from device_runner.measure.machine import describe_machine
from device_runner.model.rows import join_rows
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream, Streams
from device_runner.verify import verify
from models.tensorflow_log import load_tensorflow

STREAMS = (1, 8, 64, 512)
ROUNDS = 5
# Of each measurement; short enough to take turns, long enough that threads do not count.
SECONDS = 0.25
ON_CPU, ON_GPU = ("native", "litert"), ("litert-gpu", "tensorrt")

#: Makes so many steps of every stream.
Way = Callable[[int], None]


def stored_frames(model: StepModel, count: int) -> NDArray[np.generic]:
    """Draw stored frames [count, 1, inputs] of the model's input."""
    spec = model.contract.inputs[0]
    generator = np.random.default_rng(1)
    shape = (count, *spec.shape)
    if np.issubdtype(spec.dtype, np.integer):
        return generator.integers(-100, 100, shape).astype(spec.dtype)
    return generator.normal(size=shape).astype(spec.dtype)


def in_turn(model: StepModel, count: int, threads: int = 1, one_model: bool = False) -> Way:
    """Step streams one after another, shared among threads, or on one loaded model."""
    shared = Streams(model) if one_model else None
    streams = [(shared.open() if shared else Stream(model)).step_bytes for _ in range(count)]
    frames = [frame.tobytes() for frame in stored_frames(model, count)]
    pairs = list(zip(streams, frames, strict=True))
    return at_once([_steps_of(pairs[start::threads]) for start in range(threads)])


def in_rows(model: StepModel, count: int, backend: str, threads: int = 1) -> Way:
    """Step streams as the rows of one call, or of one call a thread.

    Raises:
        VerificationError: a row computes something else than the model.
    """
    each = count // threads
    rows = with_rows(model, each) if each > 1 else model
    ways = []
    for _ in range(threads):
        stream = _on_tensorrt(rows) if backend == "tensorrt" else Stream(rows, backend)
        found = verify(stream)
        if found.failure:
            raise found.error(model.path)
        parts = [frame.tobytes() for frame in stored_frames(model, each)]
        ways.append(_steps_of([(stream.step_bytes, join_rows(parts, model.contract.inputs))]))
    return at_once(ways)


def _steps_of(pairs: list[tuple[Callable[[bytes], bytes], bytes]]) -> Way:
    def steps(count: int) -> None:
        for _ in range(count):
            for step, frame in pairs:
                step(frame)

    return steps


def at_once(ways: list[Way]) -> Way:
    """Go several ways, each in a thread of its own."""
    if len(ways) == 1:
        return ways[0]

    def steps(count: int) -> None:
        workers = [threading.Thread(target=way, args=(count,)) for way in ways]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return steps


def _on_tensorrt(model: StepModel) -> Stream:
    from tensorrt_engine import Cuda, TensorRtBackend, TensorRtStream, build_engine

    cuda = Cuda()
    return TensorRtStream(model, TensorRtBackend(model, cuda, build_engine(model), graph=True))


def per_second(way: Way, streams: int) -> float:
    """Measure steps a second, all streams together."""
    repeats = 1
    while True:
        start = time.perf_counter()
        way(repeats)
        elapsed = time.perf_counter() - start
        if elapsed > SECONDS:
            return repeats * streams / elapsed
        repeats = max(2 * repeats, round(repeats * 1.2 * SECONDS / max(elapsed, 1e-6)))


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--cells", default="gru,lstm", show_default=True)
@click.option("--units", default=128, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(1))
@click.option(
    "--rows-on",
    multiple=True,
    default=ON_CPU,
    show_default=True,
    type=click.Choice([*ON_CPU, *ON_GPU]),
    help="What steps the rows of one call.",
)
@click.option("--only-rows", is_flag=True, help="Leave out the streams in turn and the threads.")
def main(
    files: tuple[Path, ...],
    cells: str,
    units: int,
    rounds: int,
    rows_on: tuple[str, ...],
    only_rows: bool,
) -> None:
    """Print steps a second of 1, 8, 64 and 512 streams, and write them for the docs."""
    with tempfile.TemporaryDirectory() as folder:
        named = files or _random_networks(cells.split(","), units, Path(folder))
        measure([load_step_model(file) for file in named], rounds, rows_on, only_rows)


def _random_networks(cells: list[str], units: int, folder: Path) -> tuple[Path, ...]:
    load_tensorflow()
    from native_kernels import step_files, wide_task

    task, schemes = wide_task(), ["float32", "int8"]
    return tuple(file for cell in cells for file in step_files(task, cell, units, schemes, folder))


def measure(models: list[StepModel], rounds: int, rows_on: Sequence[str], only_rows: bool) -> None:
    """Measure models in all ways and print a table."""
    cores = len(os.sched_getaffinity(0))
    ways: dict[tuple[str, str, int], Way] = {}
    for model in models:
        name = model.path.stem
        for count in STREAMS:
            if not only_rows:
                ways[name, "in turn, a model each", count] = in_turn(model, count)
                ways[name, "in turn, one loaded model", count] = in_turn(model, count, 1, True)
                if count >= cores > 1:
                    ways[name, f"in turn, {cores} threads", count] = in_turn(model, count, cores)
            for backend in rows_on:
                # On the CPU, one row is a stream in turn.
                if count > 1 or only_rows or backend in ON_GPU:
                    how = f"rows of one call, {backend}"
                    ways[name, how, count] = in_rows(model, count, backend)
                if backend in ON_CPU and cores > 1 and count % cores == 0:
                    how = f"rows of a call a thread, {cores} threads, {backend}"
                    ways[name, how, count] = in_rows(model, count, backend, cores)
    found: dict[tuple[str, str, int], list[float]] = {key: [] for key in ways}
    for _ in range(rounds):
        for key, way in ways.items():
            found[key].append(per_second(way, key[2]))
    fastest = {key: max(values) for key, values in found.items()}
    machine = describe_machine()["model"]
    click.echo(
        f"{machine}, {cores} cores; steps a second, all streams together, fastest of {rounds}"
    )
    header = ["model", "way", *(f"{count} stream{'s' * (count > 1)}" for count in STREAMS)]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for name, how in sorted({key[:2] for key in fastest}):
        speeds = [fastest.get((name, how, count)) for count in STREAMS]
        shown = [f"{speed:,.0f}" if speed else "" for speed in speeds]
        lines.append(f"| {name} | {how} | {' | '.join(shown)} |")
    click.echo("\n".join(lines))
    write_record(
        "throughput",
        "steps a second",
        [{"model": m, "way": w, "streams": n, "steps": s} for (m, w, n), s in fastest.items()],
    )


if __name__ == "__main__":
    main()
