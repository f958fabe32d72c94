"""How much faster libedgestep steps a network with three of four blocks of weights zero.

A block is the weights of 16 units and one input, as the pattern ``1x16`` of pruning makes them;
which blocks are zero is drawn at random. Nanoseconds of a step of stored bytes in C, one thread, 40
inputs; medians of interleaved rounds of the dense and the sparse network.

    python benchmarks/native_sparse.py [--units 128,256] [--folder F]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import native_library
import numpy as np
from native_kernels import FRAMES, ROUNDS, step_files, wide_task
from native_library import Steps, timer
from record import write_record

from device_runner.measure.machine import describe_machine
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model

BLOCK, KEPT = 16, 0.25
PASSES = 20


def write_sparse(path: Path) -> Path:
    """Write a copy of a step model in which most blocks of weights are zero.

    The copy keeps the contract of the dense one, so that only the C library loads it.
    """
    data, flatbuffer = bytearray(path.read_bytes()), load_step_model(path).flatbuffer
    begin, chance = bytes(data).index(flatbuffer), np.random.default_rng(4)
    for tensor in read_graph(flatbuffer).tensors:
        if tensor.constant_bytes and len(tensor.shape) == 2 and tensor.shape[0] % BLOCK == 0:
            start, size = tensor.constant_start, tensor.constant_bytes
            stored = np.frombuffer(flatbuffer[start : start + size], tensor.dtype)
            kept = chance.random((tensor.shape[0] // BLOCK, tensor.shape[1])) < KEPT
            weights = stored.reshape(tensor.shape) * np.repeat(kept, BLOCK, 0).astype(tensor.dtype)
            data[begin + start : begin + start + size] = weights.tobytes()
    sparse = path.with_name(f"{path.stem}-1x16.tflite")
    sparse.write_bytes(data)
    return sparse


def frames_of(path: Path) -> bytes:
    """Draw stored frames of a model's input."""
    spec, chance = load_step_model(path).contract.input, np.random.default_rng(8)
    if spec.scale is None:
        return chance.normal(0, 1, (FRAMES, *spec.shape)).astype(spec.dtype).tobytes()
    return chance.integers(-100, 101, (FRAMES, *spec.shape)).astype(spec.dtype).tobytes()


def compare(path: Path) -> dict[str, Any]:
    """Measure a dense network and its sparse copy."""
    frames = frames_of(path)
    ways = {"dense": Steps(path, frames), "sparse": Steps(write_sparse(path), frames)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, steps in ways.items():
            found[name].append(statistics.mean(steps.nanoseconds() for _ in range(PASSES)))
    row: dict[str, Any] = {"file": path.stem}
    row |= {name: statistics.median(times) for name, times in found.items()}
    row["times faster"] = row["dense"] / row["sparse"]
    return row


@click.command(help=__doc__)
@click.option("--units", default="128,256", show_default=True)
@click.option("--folder", type=Path, help="Where step models are kept from run to run.")
@click.option("--without", multiple=True, help="An instruction set to leave out: AVX512, AVX2.")
def main(units: str, folder: Path | None, without: tuple[str, ...]) -> None:
    """Measure each network and print a row for each."""
    native_library.without.extend(without)
    task, rows = wide_task(), []
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for size in units.split(","):
            for path in step_files(task, "lstm", int(size), ["float32", "int8"], kept):
                rows.append(row := compare(path))
                click.echo(
                    f"{row['file']:20} dense {row['dense']:7.0f} ns, three of four blocks zero "
                    f"{row['sparse']:7.0f} ns: {row['times faster']:.2f} times"
                )
    kernels = timer().es_instruction_set().decode()
    click.echo(f"medians of {ROUNDS} rounds; {kernels} kernels; {describe_machine()}")
    write_record("native_sparse", "block-sparse weights beside dense ones", rows)


if __name__ == "__main__":
    main()
