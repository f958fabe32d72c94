"""What each scheme remembers over a stream of 20,000 steps without reset.

The task is synthetic, as it must be: only there the right state is known after any number of
steps. Three inputs carry rare pulses of +1 or -1 in noise, and three outputs are to hold the sign
of the last pulse (a 3-bit flip-flop: D. Sussillo and O. Barak, 2013); the fourth output is to be 3
times the exponential average (time constant 33 steps) of the fourth input. Holding a bit is easy
for a rounded state; an average moves by less than a rounding step and is hard.

For every cell and seed a float network is trained and exported in every scheme; errors are those
of the step models on LiteRT over the same stream.

    python benchmarks/long_memory.py [--cell CELL]... [--json]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from record import write_record

from models.cells import CELLS
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import Task
from models.tensorflow_log import load_tensorflow

# One scale a matrix and one scale a channel differ more here than anywhere else.
SCHEMES = (
    "float32",
    "dynamic",
    "dynamic:compensated",
    "dynamic:per-channel",
    "dynamic:per-channel:compensated",
    "int16x8",
    "int16x8:compensated",
    "int16x8:per-channel",
    "int16x8:per-channel:compensated",
    "int8",
    "int8:per-channel",
    "int8:qat:per-channel",
)
PULSE_PROBABILITY = 0.05
PULSE_NOISE = 0.05
FORGETTING = 0.97
# Keeps the average's spread comparable to the flip-flops'.
AVERAGE_GAIN = 3.0
# Before the first pulses the flip-flops have no value.
SETTLING_STEPS = 20
TRAINING_SEQUENCES, TRAINING_STEPS = 2048, 120
CALIBRATION_STEPS = 20_000


def generate(sequences: int, steps: int, seed: int) -> SequenceSet:
    """Inputs [steps, 4] and wanted values [steps, 4] of each sequence."""
    random = np.random.default_rng(seed)
    shape = (sequences, steps, 3)
    pulses = (random.random(shape) < PULSE_PROBABILITY) * random.choice([-1.0, 1.0], shape)
    phase = random.random((sequences, 1)) * 2 * np.pi
    signal = 0.5 * np.sin(np.arange(steps) / 40 + phase)
    signal += 0.3 * random.standard_normal((sequences, steps))
    noisy = pulses + PULSE_NOISE * random.standard_normal(shape)
    x = np.concatenate([noisy, signal[..., None]], -1).astype(np.float32)
    wanted = np.zeros((sequences, steps, 4), np.float32)
    bits, average = np.zeros((sequences, 3)), np.zeros(sequences)
    for step in range(steps):
        bits = np.where(pulses[:, step] != 0, pulses[:, step], bits)
        average = FORGETTING * average + (1 - FORGETTING) * signal[:, step]
        wanted[:, step, :3], wanted[:, step, 3] = bits, AVERAGE_GAIN * average
    none = np.zeros(sequences, np.int64)
    return SequenceSet(list(x), none, none, list(wanted))


def make_task(test_steps: int) -> Task:
    return Task(
        name="long-memory",
        train=generate(TRAINING_SEQUENCES, TRAINING_STEPS, 1),
        validation=generate(64, 1000, 2),
        test=generate(1, test_steps, 99),
        labels=("flip-flop 1", "flip-flop 2", "flip-flop 3", "average"),
        channels=("pulses 1", "pulses 2", "pulses 3", "signal"),
        units="pulses of height 1; a signal",
        frame_period_s=0.01,
        frame_period_source="none: a synthetic stream",
        group_name="",
        source="synthetic: 3-bit flip-flop and exponential average",
    )


def errors(path: Path, data: SequenceSet) -> dict[str, float]:
    """Over the one sequence of ``data``: root mean squared error of the average, its largest
    error, and the share of steps and flip-flops with the right sign."""
    from device_runner.stream import Stream

    (x,), (wanted,) = data.sequences, data.values or []
    given = np.asarray(Stream(path, "litert").run(x))
    error = given[:, 3] - wanted[:, 3]
    held = wanted[SETTLING_STEPS:, :3] != 0
    right = np.sign(given[SETTLING_STEPS:, :3]) == wanted[SETTLING_STEPS:, :3]
    return {
        "average_rmse": float(np.sqrt(np.mean(error**2))),
        "average_max_error": float(np.abs(error).max()),
        "flip_flop_accuracy": float(right[held].mean()),
    }


def run_seed(
    cell: str, units: int, seed: int, task: Task, epochs: int, qat_epochs: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Train, quantize and run with one seed; the errors by scheme."""
    import tf_keras as keras

    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from convert.quantization_aware import float_network, train_quantization_aware
    from convert.schemes import parse_scheme
    from models.history import EpochRecord
    from models.network import Architecture
    from models.training import Progress, fit
    from models.training_settings import TrainingSettings

    keras.utils.set_random_seed(seed)
    architecture = Architecture(cell, (units,), len(task.channels), len(task.labels))
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)

    def settings(epochs: int, rate: float) -> TrainingSettings:
        return TrainingSettings(
            epochs=epochs, batch_size=64, learning_rate=rate, patience=epochs, seed=seed
        )

    def say(what: str) -> Progress:
        def progress(epoch: int, epochs: int, record: EpochRecord) -> None:
            click.echo(
                f"\r{cell} seed {seed} {what} {epoch}/{epochs}: validation loss "
                f"{record.validation_loss:.5f} {record.seconds:.1f} s ",
                nl=epoch == epochs,
                err=True,
            )

        return progress

    fit(network, task, settings(epochs, 3e-3), progress=say("float"))
    step = float_step(network)
    streams = long_streams(task.train.sequences, CALIBRATION_STEPS, seed)
    ranges = step.calibrate(streams)
    # The true values are known at every step; the float network has nothing to add.
    tuned, _, _ = train_quantization_aware(
        network,
        architecture,
        step,
        ranges,
        task,
        settings(qat_epochs, 1e-3),
        progress=say("qat"),
        imitation=0.0,
        spec=parse_scheme("int8:qat:per-channel"),
    )
    found = {}
    for scheme in SCHEMES:
        spec = parse_scheme(scheme)
        path = folder / f"{cell}-s{seed}-{spec.file_part}.tflite"
        source, graph = (float_network(tuned), tuned) if spec.qat else (network, step)
        export(source, architecture, task, spec, path, graph, ranges)
        found[scheme] = errors(path, task.test)
    return found


def ratio_to_float(seeds: list[dict[str, Any]], scheme: str) -> float:
    """How many times the error of the average in float32; the median of the seeds' own."""
    rmse, plain = (
        np.array([found[name]["average_rmse"] for found in seeds]) for name in (scheme, "float32")
    )
    return float(np.median(rmse / plain))


def print_table(results: dict[str, list[dict[str, Any]]], steps: int) -> None:
    click.echo(f"error of the average over {steps:,} steps: median (range) over the seeds")
    click.echo(f"{'cell':8}{'scheme':34}{'rmse':>24}{'x float':>9}{'largest':>9}{'flip-flops':>12}")
    for cell, seeds in results.items():
        for scheme in SCHEMES:
            rmse = np.array([found[scheme]["average_rmse"] for found in seeds])
            ratio = ratio_to_float(seeds, scheme)
            largest = np.median([found[scheme]["average_max_error"] for found in seeds])
            flips = np.median([found[scheme]["flip_flop_accuracy"] for found in seeds])
            spread = f"{np.median(rmse):.4f} ({rmse.min():.4f}-{rmse.max():.4f})"
            click.echo(f"{cell:8}{scheme:34}{spread:>24}{ratio:9.2f}{largest:9.3f}{flips:12.4f}")


def note_record(results: dict[str, list[dict[str, Any]]], units: int, steps: int) -> None:
    """What compensated rounding buys the first cell, for the table of techniques."""
    cell, seeds = next(iter(results.items()))
    without = "int16x8:per-channel"
    with_it = f"{without}:compensated"
    write_record(
        "long_memory",
        f"{cell}-{units} `{without}`, {steps:,} steps without reset: error of a slow average",
        [{"cell": cell, "seeds": found} for cell, found in results.items()],
        score=f"{ratio_to_float(seeds, with_it):.2f} x float's, without it "
        f"{ratio_to_float(seeds, without):.2f} x",
    )


@click.command()
@click.option("--cell", "cells", multiple=True, type=click.Choice(list(CELLS)))
@click.option("--units", default=64, show_default=True, type=click.IntRange(1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=20_000, show_default=True, type=click.IntRange(1000))
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(1))
@click.option("--qat-epochs", default=100, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per cell.")
def main(
    cells: tuple[str, ...],
    units: int,
    seeds: int,
    steps: int,
    epochs: int,
    qat_epochs: int,
    as_json: bool,
) -> None:
    """Train networks on the long-memory task (default: LSTM and GRU) and compare the schemes."""
    load_tensorflow()
    task = make_task(steps)
    with tempfile.TemporaryDirectory() as folder:
        results = {
            cell: [
                run_seed(cell, units, seed, task, epochs, qat_epochs, Path(folder))
                for seed in range(1, seeds + 1)
            ]
            for cell in cells or ("lstm", "gru")
        }
    note_record(results, units, steps)
    if as_json:
        for cell, found in results.items():
            click.echo(json.dumps({"cell": cell, "units": units, "steps": steps, "seeds": found}))
    else:
        print_table(results, steps)


if __name__ == "__main__":
    main()
