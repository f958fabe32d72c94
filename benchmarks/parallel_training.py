"""Training time of cells that need a loop over time against cells that do without one.

One optimizer step (forward, backward, Adam) on 32 random sequences is timed for every cell and
length, the cells interleaved within each round. The first step, which builds the graph, does not
count. An epoch here is 320 sequences, ten such steps. Random data: they do not change the time.

    python benchmarks/parallel_training.py [--cell CELL]... [--steps N]... [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import click
import numpy as np
from record import write_record

from device_runner.measure.machine import describe_machine
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

INPUTS, OUTPUTS = 12, 9
BATCH, BATCHES = 32, 10


def trainer(cell: str, units: int, steps: int) -> Any:
    """A function that makes one optimizer step of a new network."""
    import tensorflow as tf
    import tf_keras as keras

    from models.losses import sequence_loss
    from models.network import Architecture

    network = Architecture(cell, (units,), INPUTS, OUTPUTS).build()
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=(BATCH, steps, INPUTS)), tf.float32)
    labels = tf.constant(random.integers(0, OUTPUTS, BATCH))
    lengths = tf.fill((BATCH,), steps)

    @tf.function(jit_compile=False)
    def train_step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = sequence_loss(network(x, training=True), labels, lengths)
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return lambda: float(train_step())


def measure(cells: tuple[str, ...], units: int, steps: int, rounds: int) -> dict[str, float]:
    """Median seconds of an epoch by cell."""
    trainers = {cell: trainer(cell, units, steps) for cell in cells}
    for step in trainers.values():
        step()
    samples: dict[str, list[float]] = {cell: [] for cell in cells}
    for _ in range(rounds):
        for cell, step in trainers.items():
            start = time.perf_counter()
            step()
            samples[cell].append(time.perf_counter() - start)
    return {cell: BATCHES * statistics.median(values) for cell, values in samples.items()}


@click.command()
@click.option(
    "--cell", "cells", multiple=True, type=click.Choice(list(CELLS)),
    default=("lstm", "gru", "min-lstm", "min-gru"), show_default=True,
)  # fmt: skip
@click.option("--units", default=64, show_default=True, type=click.IntRange(1))
@click.option(
    "--steps", "lengths", multiple=True, type=click.IntRange(2), default=(128, 512, 2048),
    show_default=True,
)  # fmt: skip
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per length.")
def main(
    cells: tuple[str, ...], units: int, lengths: tuple[int, ...], rounds: int, as_json: bool
) -> None:
    """Time the training of parallel and sequential cells."""
    load_tensorflow()
    if not as_json:
        click.echo(f"{describe_machine()['model']}, {units} units, seconds of an epoch")
        click.echo(f"{'steps':>6}" + "".join(f"{cell:>12}" for cell in cells))
    rows: list[dict[str, Any]] = []
    for steps in lengths:
        seconds = measure(cells, units, steps, rounds)
        rows.append({"units": units, "steps": steps, "seconds": seconds})
        if as_json:
            click.echo(json.dumps(rows[-1]))
        else:
            click.echo(f"{steps:6}" + "".join(f"{seconds[cell]:12.2f}" for cell in cells))
    if {"gru", "min-gru"} <= set(cells):
        last: dict[str, float] = rows[-1]["seconds"]
        write_record(
            "parallel_training",
            f"an epoch of min-gru-{units} against gru-{units}, {lengths[-1]} steps: "
            f"{last['min-gru'] / last['gru']:.2f} x the seconds",
            rows,
        )


if __name__ == "__main__":
    main()
