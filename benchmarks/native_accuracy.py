"""How near libedgestep's outputs are to the float model's, beside stock LiteRT's, for every cell.

Each cell is trained for a few seconds on japanese-vowels and exported in float32 and int8. Both
libraries step 10,000 frames of utterances that training did not see, one after another without a
reset. The float model is the float32 step on LiteRT. Errors are shares of the outputs' spread, over
all steps and outputs; ``float`` is the largest one of libedgestep in float32, ``bits`` the share of
int8 outputs that are the same bytes in both libraries, though each carries its own states on.

    python benchmarks/native_accuracy.py [--cells lstm,gru] [--units 32] [--folder F]
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import tf_keras as keras
from numpy.typing import NDArray
from record import write_record

from calibration.rollout import long_streams
from convert.export import export, float_step
from device_runner.stream import Stream
from models.cells import CELLS
from models.network import Architecture
from models.tasks import load_task
from models.tasks.task import Task
from models.training import fit
from models.training_settings import TrainingSettings

TASK, CALIBRATION_STEPS = "japanese-vowels", 4000
SCHEMES = ("float32", "int8")
# Forms of a cell that have a graph of their own, beside the plain one.
FORMS: dict[str, tuple[dict[str, Any], ...]] = {
    "gru": ({}, {"reset_after": False}),
    "graph-gru": ({"nodes": 4},),
    "window-attention": ({"window": 8},),
    "attentive-gru": ({"window": 8},),
}


@dataclass(frozen=True)
class Accuracy:
    """Errors against the float model as shares of its outputs' spread; see the module."""

    float_largest: float
    native_rms: float
    litert_rms: float
    native_largest: float
    litert_largest: float
    same_bits: float


def variants(cells: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the cells in each of their forms."""
    for cell in cells:
        for options in FORMS.get(cell, ({},)):
            yield cell, options


def step_files(
    task: Task, cell: str, options: dict[str, Any], units: int, folder: Path
) -> list[Path]:
    """Train a network and write its step models, unless they are there."""
    label = "-".join([cell, *(f"{name}-{value}" for name, value in options.items()), str(units)])
    files = [folder / f"{label}-{scheme}.tflite" for scheme in SCHEMES]
    if all(file.exists() for file in files):
        return files
    keras.utils.set_random_seed(1)
    architecture = Architecture(cell, (units,), len(task.channels), len(task.labels), options)
    network = architecture.build()
    network.get_layer("normalization").adapt(*task.normalization)
    fit(network, task, TrainingSettings(epochs=12, learning_rate=1e-2))
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, CALIBRATION_STEPS, 1))
    for scheme, path in zip(SCHEMES, files, strict=True):
        export(network, architecture, task, scheme, path, step, ranges)
    return files


def unseen_frames(task: Task, steps: int) -> NDArray[np.float32]:
    """Return so many frames of the test utterances, one utterance after another, [steps, inputs].

    They begin anew where there are not enough.
    """
    frames = np.concatenate(task.test.sequences)
    return np.resize(frames, (steps, frames.shape[1])).astype(np.float32)


def outputs(path: Path, backend: str, frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Step the frames without a reset; return the outputs, [steps, outputs]."""
    return np.asarray(Stream(path, backend).run(frames), np.float64)


def accuracy(float_file: Path, int8_file: Path, frames: NDArray[np.float32]) -> Accuracy:
    """Compare both libraries with the float model."""
    reference = outputs(float_file, "litert", frames)
    spread = float(np.ptp(reference))

    def errors(found: NDArray[np.float64]) -> tuple[float, float]:
        error = (found - reference) / spread
        return float(np.sqrt(np.mean(error**2))), float(np.abs(error).max())

    native, litert = (outputs(int8_file, name, frames) for name in ("native", "litert"))
    (native_rms, native_largest), (litert_rms, litert_largest) = errors(native), errors(litert)
    return Accuracy(
        float_largest=errors(outputs(float_file, "native", frames))[1],
        native_rms=native_rms,
        litert_rms=litert_rms,
        native_largest=native_largest,
        litert_largest=litert_largest,
        same_bits=float(np.mean(native == litert)),
    )


def table_row(label: str, found: Accuracy) -> str:
    """Make a row of the table in docs/performance.md."""
    return (
        f"| {label} | {found.float_largest:.1e} | {found.native_rms:.3%} | {found.litert_rms:.3%} "
        f"| {found.native_largest:.1%} | {found.litert_largest:.1%} | {found.same_bits:.2%} |"
    )


@click.command(help=__doc__)
@click.option("--cells", default=",".join(CELLS), help="Default: all.")
@click.option("--units", default=32, show_default=True)
@click.option("--steps", default=10_000, show_default=True)
@click.option("--folder", type=Path, help="Where step models are kept from run to run.")
def main(cells: str, units: int, steps: int, folder: Path | None) -> None:
    """Compare every cell and print a row for each."""
    task, rows = load_task(TASK), []
    frames = unseen_frames(task, steps)
    click.echo(
        "| cell | float, largest | int8 rms, libedgestep | LiteRT | int8 largest, libedgestep "
        "| LiteRT | same bits |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for cell, options in variants(cells.split(",")):
            files = step_files(task, cell, options, units, kept)
            found = accuracy(files[0], files[1], frames)
            label = " ".join([cell, *(f"{name}={value}" for name, value in options.items())])
            rows.append({"cell": label, **vars(found)})
            click.echo(table_row(label, found))
    worst = max(row["native_rms"] / row["litert_rms"] for row in rows)
    click.echo(
        f"{steps:,} steps each, {units} units; libedgestep's rms error is at most {worst:.3f} of "
        f"LiteRT's; the largest float error is {max(row['float_largest'] for row in rows):.1e}"
    )
    write_record("native_accuracy", "libedgestep's errors beside LiteRT's", rows)


if __name__ == "__main__":
    main()
