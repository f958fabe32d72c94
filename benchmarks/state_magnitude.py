"""How large an unbounded state's 8-bit grid should be: what the choice by trial is worth.

An LSTM is trained on the watch's signal, as recipes/watch-quantization.toml does it, and exported
in int8 with the grid of its cell state over each share of the largest value that calibration may
choose (calibration/state_magnitudes.py). The drift from the float model over 10,000 steps of
validation data without reset, and the accuracy, stand beside the choice, which has seen training
data alone.

    python benchmarks/state_magnitude.py [--cell CELL] [--units N] [--seeds N]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from record import write_record

from calibration.state_magnitudes import MARGIN, SHARES
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

TASK = "watch-exercises"
CALIBRATION_STEPS = 10_000


@dataclass
class Found:
    """Of one seed: by candidate the drift (rms, as a share of the outputs' spread), the share of
    equal decisions and the accuracy; the float network's accuracy; which candidate was chosen."""

    drift: list[float]
    agreement: list[float]
    accuracy: list[float]
    float_accuracy: float
    chosen: int


def run_seed(cell: str, units: int, seed: int, folder: Path) -> Found:
    """Train, calibrate, and export with each candidate."""
    import tf_keras as keras

    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from models.history import EpochRecord
    from models.network import Architecture
    from models.tasks import load_task
    from models.training import fit
    from models.training_settings import TrainingSettings

    task = load_task(TASK)
    keras.utils.set_random_seed(seed)
    architecture = Architecture(
        cell, (units,), len(task.channels), len(task.labels), input_noise=0.3, input_offset=0.2
    )
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    settings = TrainingSettings(
        epochs=40, batch_size=64, learning_rate=0.002, patience=12, seed=seed
    )

    def progress(epoch: int, epochs: int, record: EpochRecord) -> None:
        click.echo(f"\rseed {seed} epoch {epoch}/{epochs} ", nl=epoch == epochs, err=True)

    fit(network, task, settings, progress=progress)
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, CALIBRATION_STEPS, seed))
    if not ranges.magnitudes:
        raise click.ClickException(f"every state of {cell} is bounded; choose an LSTM of some kind")
    chosen = [
        int(np.argmin([abs(share * ranges.state_magnitude(name) - size) for share in SHARES]))
        for name, size in ranges.magnitudes.items()
    ]
    found = Found([], [], [], 0.0, chosen[0])
    for share in SHARES:
        sizes = {name: share * ranges.state_magnitude(name) for name in ranges.magnitudes}
        tried = replace(ranges, magnitudes=sizes)
        path = folder / f"{cell}-s{seed}-{share:.3f}.tflite"
        model = export(network, architecture, task, "int8", path, step, tried)
        metrics = model.contract.metrics
        found.drift.append(metrics["drift"]["rms"])
        found.agreement.append(metrics["drift"]["argmax_agreement"])
        found.accuracy.append(metrics["accuracy"])
        found.float_accuracy = metrics["float_accuracy"]
    return found


@click.command()
@click.option("--cell", default="lstm", show_default=True, type=click.Choice(list(CELLS)))
@click.option("--units", default=64, show_default=True, type=click.IntRange(1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
def main(cell: str, units: int, seeds: int) -> None:
    """Measure each candidate for the range of an unbounded state, beside the one chosen."""
    load_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        found = [run_seed(cell, units, seed, Path(folder)) for seed in range(1, seeds + 1)]
    click.echo(f"float accuracy {np.median([one.float_accuracy for one in found]):.2%}; medians")
    click.echo(f"{'x largest':>10}{'drift':>9}{'same decision':>15}{'accuracy':>10}  chosen by")
    for number, share in enumerate(SHARES):
        drift, agreement, accuracy = (
            np.median([values[number] for values in column])
            for column in zip(*((o.drift, o.agreement, o.accuracy) for o in found), strict=True)
        )
        seeds_here = ", ".join(f"s{i}" for i, one in enumerate(found, 1) if one.chosen == number)
        click.echo(f"{share:10.3f}{drift:9.4f}{agreement:15.1%}{accuracy:10.2%}  {seeds_here}")
    before, after = (
        [float(np.median(values)) for values in zip(*picked, strict=True)]
        for picked in (
            [(one.drift[0], one.accuracy[0]) for one in found],
            [(one.drift[one.chosen], one.accuracy[one.chosen]) for one in found],
        )
    )
    for what, (drift, accuracy) in (("largest value", before), ("by trial", after)):
        click.echo(f"{what}: drift {drift:.4f}, accuracy {accuracy:.2%}")
    write_record(
        "state_magnitude",
        f"{cell}-{units} `int8` on {TASK}, 10,000 steps without reset: drift from float",
        [vars(one) for one in found],
        score=f"{after[0]:.3f}, with {MARGIN} x the largest value {before[0]:.3f}",
    )


if __name__ == "__main__":
    main()
