"""How far from orthogonal an ORU's matrix Q is in 8 bits, and what mends it.

An ORU of 64 units is trained on JapaneseVowels and exported in some schemes. Of each file Q is read
as the runtime computes with it. *Error* is the largest singular value of Q'Q - I: by so much the
square of a state's length may change at a step. *Length* is what Q alone makes of a state's length
in its worst direction over 1,000 steps, without the gates, which shrink the state at each. Accuracy
(test data) and drift (validation data) are those of the file.

    python benchmarks/orthogonality.py [--units 64] [--epochs 80] [--seeds 3]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from record import write_record

from device_runner.backends.litert import interpreter_module
from device_runner.model.step_file import StepModel
from models.tensorflow_log import load_tensorflow

SCHEMES = ("float32", "float16", "int8", "int8:per-channel", "int8:compensated",
           "int8:per-channel:compensated", "int16x8:per-channel:compensated")  # fmt: skip
STEPS = 1000


def orthogonal_matrix(model: StepModel) -> NDArray[np.float64]:
    """Read Q [units, units] from a file: of the square matrices the one nearest to orthogonal."""
    interpreter = interpreter_module().Interpreter(
        model_content=model.flatbuffer, experimental_preserve_all_tensors=True
    )
    (units,) = model.contract.units
    found = []
    for details in interpreter.get_tensor_details():
        if list(details["shape"]) != [units, units]:
            continue
        try:
            stored = interpreter.get_tensor(details["index"])
        except ValueError:  # not a constant
            continue
        parameters = details["quantization_parameters"]
        values = stored.astype(np.float64)
        if len(parameters["scales"]):
            values *= parameters["scales"].reshape(-1, 1)
        found.append(values)
    return min(found, key=error)


def error(matrix: NDArray[np.float64]) -> float:
    """Return the largest singular value of Q'Q - I."""
    return float(np.linalg.norm(matrix.T @ matrix - np.eye(len(matrix)), 2))


def growth(matrix: NDArray[np.float64]) -> float:
    """Return the largest factor of a vector's length over STEPS products."""
    return float(np.linalg.norm(np.linalg.matrix_power(matrix, STEPS), 2))


def trained(units: int, epochs: int, seed: int) -> Any:
    """Train an ORU; return its task, architecture and network."""
    import tf_keras as keras

    from models.network import Architecture
    from models.tasks import load_task
    from models.training import fit
    from models.training_settings import TrainingSettings

    task = load_task("japanese-vowels")
    keras.utils.set_random_seed(seed)
    architecture = Architecture(
        "oru", (units,), len(task.channels), len(task.labels), input_noise=0.3, input_offset=0.25
    )
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    fit(network, task, TrainingSettings(epochs=epochs, seed=seed))
    return task, architecture, network


@click.command()
@click.option("--units", default=64, show_default=True, type=click.IntRange(2))
@click.option("--epochs", default=80, show_default=True, type=click.IntRange(1))
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
def main(units: int, epochs: int, seeds: int) -> None:
    """Print the error of Q by scheme, medians of the seeds, and what it does to the outputs."""
    load_tensorflow()
    from calibration.rollout import long_streams
    from convert.export import export, float_step

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, seeds + 1):
            task, architecture, network = trained(units, epochs, seed)
            step = float_step(network)
            ranges = step.calibrate(long_streams(task.train.sequences, 10_000, seed))
            for scheme in SCHEMES:
                path = Path(folder) / "oru.tflite"
                model = export(network, architecture, task, scheme, path, step, ranges)
                matrix, metrics = orthogonal_matrix(model), model.contract.metrics
                rows.append(
                    {
                        "scheme": scheme,
                        "error": error(matrix),
                        "growth": growth(matrix),
                        "accuracy": metrics["accuracy"],
                        "drift": metrics.get("drift", {"rms": 0.0})["rms"],
                    }
                )
    click.echo("| scheme | error of Q | length after 1,000 products | accuracy | drift |")
    click.echo("|---|---|---|---|---|")
    for scheme in SCHEMES:
        own = [row for row in rows if row["scheme"] == scheme]
        names = ("error", "growth", "accuracy", "drift")
        middle = {name: statistics.median(row[name] for row in own) for name in names}
        click.echo(
            f"| `{scheme}` | {middle['error']:.5f} | {middle['growth']:.3g} x | "
            f"{middle['accuracy']:.1%} | {middle['drift']:.4f} |"
        )
    write_record("orthogonality", "Q of an ORU by scheme", rows)


if __name__ == "__main__":
    main()
