"""Steps a second of many independent streams on one model: throughput beside latency.

Four ways to step N streams: one after another in one thread, each with a model loaded for it; the
same on one loaded model, whose state is exchanged (``Streams``); shared among as many threads as
there are cores (libedgestep lets other threads run while it steps); and as the rows of one call,
where the step graph's tensors are given N rows (LiteRT, one thread). The rows of that call are held
against a stream of their own first. A round steps every stream once; ways and numbers take turns.
The figure is that of the fastest round, as other work on the machine only takes away.

Without files, networks of 40 inputs with random weights are measured.

    python benchmarks/throughput.py [FILE...] [--cells gru,lstm] [--units 128] [--rounds 5]
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from record import write_record

from device_runner.backends.litert import interpreter_module
from device_runner.measure.machine import describe_machine
from device_runner.model.step_file import StepModel, load_step_model
from device_runner.stream import Stream, Streams
from models.tensorflow_log import load_tensorflow

STREAMS = (1, 8, 64, 512)
ROUNDS = 5
# Of each measurement; short enough to take turns, long enough that threads do not count.
SECONDS = 0.25
TOLERANCE_STEPS = 6

#: Makes so many steps of every stream.
Way = Callable[[int], None]


class Rows:
    """A step graph with one row for each stream, in LiteRT.

    Args:
        model: whose inputs and states have one row each.
        count: of rows.

    Raises:
        ValueError, RuntimeError: the graph takes one row only.
    """

    def __init__(self, model: StepModel, count: int) -> None:
        interpreter = interpreter_module().Interpreter(model_content=model.flatbuffer)
        details = interpreter.get_input_details()
        for one in details:
            interpreter.resize_tensor_input(one["index"], [count, *one["shape"][1:]])
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        signature = interpreter._get_full_signature_list()["step"]
        self._inputs, self._outputs = signature["inputs"], signature["outputs"]
        self._states = [name for name in self._inputs if name in self._outputs]
        (self._given,) = (name for name in self._inputs if name not in self._states)
        (self._answer,) = (name for name in self._outputs if name not in self._states)
        for spec in model.contract.states:
            stored = model.contract.initial_state()[spec.name]
            array = np.frombuffer(stored, spec.dtype).reshape(spec.shape)
            interpreter.set_tensor(self._inputs[spec.name], np.repeat(array, count, 0))

    def step(self, frames: NDArray[np.generic]) -> NDArray[np.generic]:
        """Step all rows once: stored frames [rows, inputs] to stored outputs [rows, outputs]."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._inputs[self._given], frames)
        interpreter.invoke()
        answer: NDArray[np.generic] = interpreter.get_tensor(self._outputs[self._answer])
        for name in self._states:
            state = interpreter.get_tensor(self._outputs[name])
            interpreter.set_tensor(self._inputs[name], state)
        return answer


def stored_frames(model: StepModel, count: int) -> NDArray[np.generic]:
    """Draw stored frames [count, 1, inputs] of the model's input."""
    spec = model.contract.inputs[0]
    generator = np.random.default_rng(1)
    shape = (count, *spec.shape)
    if np.issubdtype(spec.dtype, np.integer):
        return generator.integers(-100, 100, shape).astype(spec.dtype)
    return generator.normal(size=shape).astype(spec.dtype)


def in_turn(model: StepModel, count: int, threads: int, one_model: bool = False) -> Way:
    """Step streams one after another, shared among threads, or on one loaded model."""
    shared = Streams(model) if one_model else None
    streams = [(shared.open() if shared else Stream(model)).step_bytes for _ in range(count)]
    frames = [frame.tobytes() for frame in stored_frames(model, count)]
    shares = [list(zip(streams, frames, strict=True))[start::threads] for start in range(threads)]

    def steps_of(share: list[tuple[Callable[[bytes], bytes], bytes]], steps: int) -> None:
        for _ in range(steps):
            for step, frame in share:
                step(frame)

    def steps(count: int) -> None:
        if threads == 1:
            steps_of(shares[0], count)
            return
        workers = [threading.Thread(target=steps_of, args=(share, count)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return steps


def in_rows(model: StepModel, count: int) -> Way | None:
    """Step streams as rows of one call; None if the graph does not take them, or computes
    something else with them."""
    frames = stored_frames(model, count)
    try:
        rows = Rows(model, count)
        given = [rows.step(frames[:, 0]) for _ in range(TOLERANCE_STEPS)][-1]
    except (ValueError, RuntimeError) as error:
        click.echo(
            f"{model.path.name}: {count} rows: {' '.join(str(error).split())[:120]}", err=True
        )
        return None
    alone = Stream(model, "litert").step_bytes
    for _ in range(TOLERANCE_STEPS):
        wanted = alone(frames[-1].tobytes())
    expected = np.frombuffer(wanted, given.dtype).reshape(given[-1].shape)
    limit = 1 if np.issubdtype(given.dtype, np.integer) else 1e-4
    if not np.all(np.abs(given[-1].astype(float) - expected.astype(float)) <= limit):
        click.echo(f"{model.path.name}: {count} rows give something else", err=True)
        return None

    def steps(repeats: int) -> None:
        for _ in range(repeats):
            rows.step(frames[:, 0])

    return steps


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
def main(files: tuple[Path, ...], cells: str, units: int, rounds: int) -> None:
    """Print steps a second of 1, 8, 64 and 512 streams, and write them for the docs."""
    with tempfile.TemporaryDirectory() as folder:
        named = files or _random_networks(cells.split(","), units, Path(folder))
        measure([load_step_model(file) for file in named], rounds)


def _random_networks(cells: list[str], units: int, folder: Path) -> tuple[Path, ...]:
    load_tensorflow()
    from native_kernels import step_files, wide_task

    task, schemes = wide_task(), ["float32", "int8"]
    return tuple(file for cell in cells for file in step_files(task, cell, units, schemes, folder))


def measure(models: list[StepModel], rounds: int) -> None:
    """Measure models in all ways and print a table."""
    cores = len(os.sched_getaffinity(0))
    ways: dict[tuple[str, str, int], Way] = {}
    for model in models:
        name = model.path.stem
        for count in STREAMS:
            ways[name, "in turn, a model each", count] = in_turn(model, count, 1)
            ways[name, "in turn, one loaded model", count] = in_turn(model, count, 1, True)
            if count >= cores > 1:
                ways[name, f"{cores} threads", count] = in_turn(model, count, cores)
            if rows := in_rows(model, count):
                ways[name, "rows of one call", count] = rows
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
