"""Compensated rounding of weights beside the ways of litert-quantizer: nearest, MSE and GPTQ.

Networks are trained on JapaneseVowels for 40 epochs with noise 0.3 and offset 0.25, which were
chosen inside the training data, and exported in each scheme with each rounding; everything else is
the same. The drift from the float model is that over 10,000 steps of validation data without reset.
Calibration has seen training data alone, and no rounding has a setting that was chosen by its
result.

litert-quantizer's GPTQ asks for second moments of a product's inputs. Its own calibration runs a
signature on single inputs; here it gets those of the roll-out, in which the state is carried along,
as compensated rounding does.

    python benchmarks/rounding.py [--cell CELL]... [--units N] [--seeds N] [--epochs N]
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np

from calibration.ranges import Ranges
from models.cells import CELLS
from models.tensorflow_log import load_tensorflow

TASK = "japanese-vowels"
CALIBRATION_STEPS = 10_000
BASES = ("dynamic", "int16x8", "int8")
GRANULARITIES = ("", ":per-channel")
# By name: the scheme's word, and the algorithm of litert-quantizer that takes the place of its own.
ROUNDINGS = {
    "nearest": ("", ""),
    "MSE": ("", "MSE"),
    "GPTQ": ("", "GPTQ"),
    "compensated": (":compensated", ""),
}
COLUMNS = ("rms", "argmax_agreement", "accuracy")


@contextlib.contextmanager
def products_rounded_by(algorithm: str, ranges: Ranges) -> Iterator[None]:
    """Let litert-quantizer round the matrices of FULLY_CONNECTED by one of its algorithms."""
    from litert_quantizer import algorithm_manager, qtyping, quantizer

    settings = {
        "operation_name": qtyping.TFLOperationName.FULLY_CONNECTED,
        "algorithm_key": algorithm_manager.AlgorithmName(algorithm),
    }
    known = {
        name: {
            "min": np.full((1, 1), item.minimum, np.float32),
            "max": np.full((1, 1), item.maximum, np.float32),
        }
        for name, item in ranges.tensors.items()
    }

    class Rounding(quantizer.Quantizer):
        def add_static_config(self, **given: Any) -> None:
            super().add_static_config(**given)
            super().add_static_config(**{**given, **settings})

        def add_dynamic_config(self, **given: Any) -> None:
            super().add_dynamic_config(**{**given, **settings})

        def quantize(self, calibration_result: Any = None, **given: Any) -> Any:
            found = {name: dict(item) for name, item in (calibration_result or known).items()}
            for name, moment in ranges.moments.items():
                # Without the row and column of the 1 that stands for a bias.
                found[name]["hessian"] = 2 * moment[:-1, :-1]
            return super().quantize(found, **given)

    with mock.patch.object(quantizer, "Quantizer", Rounding):
        yield


def run_seed(
    cell: str, units: int, seed: int, epochs: int, folder: Path
) -> dict[tuple[str, str], dict[str, float]]:
    """Train, calibrate, and export in every scheme with every rounding: what was measured, by
    scheme and rounding; nothing where the result is out of the scheme's tolerance."""
    import tf_keras as keras

    from calibration.rollout import long_streams
    from convert.export import export, float_step
    from convert.schemes import parse_scheme
    from device_runner.errors import VerificationError
    from models.network import Architecture
    from models.tasks import load_task
    from models.training import fit
    from models.training_settings import TrainingSettings

    task = load_task(TASK)
    keras.utils.set_random_seed(seed)
    architecture = Architecture(
        cell, (units,), len(task.channels), len(task.labels), input_noise=0.3, input_offset=0.25
    )
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    settings = TrainingSettings(epochs=epochs, learning_rate=0.002, patience=25, seed=seed)
    fit(network, task, settings)
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, CALIBRATION_STEPS, seed))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for base in BASES:
        for granularity in GRANULARITIES:
            for rounding, (word, algorithm) in ROUNDINGS.items():
                spec = parse_scheme(f"{base}{granularity}{word}")
                path = folder / f"{cell}-s{seed}-{spec.file_part}-{rounding}.tflite"
                other = products_rounded_by(algorithm, ranges) if algorithm else None
                with other or contextlib.nullcontext(), contextlib.suppress(VerificationError):
                    model = export(network, architecture, task, spec, path, step, ranges)
                    metrics = model.contract.metrics
                    found[f"{base}{granularity}", rounding] = {
                        "rms": metrics["drift"]["rms"],
                        "argmax_agreement": metrics["drift"]["argmax_agreement"],
                        "accuracy": metrics["accuracy"],
                        "float_accuracy": metrics["float_accuracy"],
                    }
    return found


@click.command()
@click.option("--cell", "cells", multiple=True, default=("lstm", "gru"), show_default=True,
              type=click.Choice(list(CELLS)))  # fmt: skip
@click.option("--units", default=64, show_default=True, type=click.IntRange(1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--epochs", default=40, show_default=True, type=click.IntRange(1))
def main(cells: tuple[str, ...], units: int, seeds: int, epochs: int) -> None:
    """Compare roundings of weights: drift, equal decisions and accuracy, medians over the seeds."""
    load_tensorflow()
    for cell in cells:
        with tempfile.TemporaryDirectory() as folder:
            runs = [
                run_seed(cell, units, seed, epochs, Path(folder)) for seed in range(1, seeds + 1)
            ]
        whole = np.median([next(iter(run.values()))["float_accuracy"] for run in runs])
        click.echo(f"{cell}-{units}, {seeds} seeds, float accuracy {whole:.2%}")
        click.echo(f"{'scheme':22}{'rounding':14}{'drift':>9}{'same decision':>15}{'accuracy':>10}")
        for scheme in (f"{base}{granularity}" for base in BASES for granularity in GRANULARITIES):
            for rounding in ROUNDINGS:
                known = [run[scheme, rounding] for run in runs if (scheme, rounding) in run]
                if len(known) < seeds:
                    click.echo(
                        f"{scheme:22}{rounding:14} out of tolerance with {seeds - len(known)} seeds"
                    )
                    continue
                drift, same, accuracy = (
                    float(np.median([one[name] for one in known])) for name in COLUMNS
                )
                click.echo(f"{scheme:22}{rounding:14}{drift:9.4f}{same:15.1%}{accuracy:10.2%}")


if __name__ == "__main__":
    main()
