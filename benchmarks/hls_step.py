"""A GRU's step as C++ for FPGAs by hls4ml, compiled here and compared with our step models.

A GRU is trained for a few seconds on japanese-vowels. hls4ml writes one step of it, with its head,
as C++ for high-level synthesis: state and frame go in, the new state and the scores come out, as in
a step model. g++ compiles it with hls4ml's own fixed-point types, so it computes the bits that the
synthesized circuit would. Test utterances are stepped one after another without a reset, each step
from the state of the step before.

Its numbers are fixed point, so all grids are powers of two, and its sigmoid and tanh are tables of
1,024 values; a step model's grids are free. So the bits differ, and the errors against the float
step are compared: of the scores as a share of their spread, the last three columns in the order
root mean square, largest, and how often the decision is the float step's.

Synthesis needs AMD's Vitis HLS (or Intel's compiler, for which hls4ml has other backends): give
--project FOLDER, and run "vitis_hls -f build_prj.tcl" there. No circuit has been made here.

    python benchmarks/hls_step.py [--units 32] [--steps 1000] [--project FOLDER]

Needs "pip install edgestep[fpga]" and g++. LSTMs are left out: hls4ml 1.3 hands out no cell state.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import tf_keras as keras
from native_accuracy import unseen_frames
from numpy.typing import NDArray
from record import write_record

from calibration.rollout import long_streams
from convert.export import export, float_step
from device_runner.stream import Stream
from models.layers import Recurrence
from models.network import Architecture, recurrences
from models.tasks import load_task
from models.tasks.task import Task
from models.training import fit
from models.training_settings import TrainingSettings

TASK, EPOCHS, CALIBRATION_STEPS = "japanese-vowels", 12, 4000
SCHEMES = ("float32", "int8", "int16x8")
# Bits of the state and of the weights, as in int16x8 and in int8; a state is below 1.
HLS_TYPES = {"hls4ml, state 16, weights 8": (16, 8), "hls4ml, state 8, weights 8": (8, 8)}
# What is summed up: enough that nothing is lost before the tables of sigmoid and tanh.
SUM = "ap_fixed<32,12>"

Frames = NDArray[np.float32]
Step = Callable[[Frames, Frames], tuple[Frames, Frames]]


class Weights(NamedTuple):
    """Of a GRU with its head, the normalization folded in: kernel [inputs, 3H], recurrent [H, 3H],
    two biases [3H], head [H, outputs] and its bias."""

    kernel: NDArray[Any]
    recurrent: NDArray[Any]
    bias: NDArray[Any]
    recurrent_bias: NDArray[Any]
    head: NDArray[Any]
    head_bias: NDArray[Any]


def trained_weights(task: Task, units: int, folder: Path) -> tuple[Weights, list[Path]]:
    """Train a GRU, write its step models, and return its weights and the files."""
    keras.utils.set_random_seed(1)
    architecture = Architecture("gru", (units,), len(task.channels), len(task.labels))
    network = architecture.build()
    normalization = network.get_layer("normalization")
    normalization.adapt(*task.normalization)
    fit(network, task, TrainingSettings(epochs=EPOCHS, learning_rate=1e-2))
    step = float_step(network)
    ranges = step.calibrate(long_streams(task.train.sequences, CALIBRATION_STEPS, 1))
    files = [folder / f"gru-{units}-{scheme}.tflite" for scheme in SCHEMES]
    for scheme, path in zip(SCHEMES, files, strict=True):
        export(network, architecture, task, scheme, path, step, ranges)
    layer: Recurrence = recurrences(network)[0]
    kernel, bias = layer.cell.kernel.numpy(), layer.cell.bias.numpy()
    scale, shift = normalization.scale.numpy(), normalization.shift.numpy()
    head = network.get_layer("head")
    return Weights(
        kernel * scale[:, np.newaxis],
        layer.cell.recurrent_kernel.numpy(),
        bias + shift @ kernel,
        layer.cell.recurrent_bias.numpy(),
        head.kernel.numpy(),
        head.bias.numpy(),
    ), files


def fixed(values: NDArray[Any], bits: int) -> str:
    """Name the fixed-point type of so many bits that just holds the values: rounded, saturated."""
    largest = max(float(np.abs(values).max()), 1e-9)
    return f"ap_fixed<{bits},{math.floor(math.log2(largest)) + 2},AP_RND,AP_SAT>"


def hls_step(weights: Weights, frames: Frames, state_bits: int, bits: int, folder: Path) -> Step:
    """Write the C++ of one step into a folder and compile it.

    Args:
        frames: what its inputs are like; their type holds them.
        state_bits, bits: of the state and of the weights.

    Returns:
        A function (frame [inputs], state [H]) -> (scores [outputs], new state [H]).
    """
    from hls4ml.backends import get_backend
    from hls4ml.model.graph import ModelGraph

    units = len(weights.recurrent)
    state = f"ap_fixed<{state_bits},1,AP_RND,AP_SAT>"
    # A GRU of hls4ml that is given its state has both matrices in one type.
    both = fixed(np.concatenate([weights.kernel, weights.recurrent]), bits)
    step = {
        "result": state,
        "accum": SUM,
        "weight": both,
        "recurrent_weight": both,
        "bias": SUM,
        "recurrent_bias": SUM,
    }
    head = {"result": SUM, "accum": SUM, "weight": fixed(weights.head, bits), "bias": SUM}
    precisions = {"x": {"result": fixed(frames, 16)}, "h": {"result": state}}
    precisions |= {"step": step, "head": head}
    config = get_backend("Vitis").create_initial_config()
    config |= {"OutputDir": str(folder), "ProjectName": "step", "Backend": "Vitis"}
    config["HLSConfig"] = {
        "Model": {"Precision": SUM, "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {name: {"Precision": types} for name, types in precisions.items()},
    }
    graph = ModelGraph.from_layer_list(
        config, _layers(weights), inputs=["x", "h"], outputs=["step", "head"]
    )
    graph.compile()

    def compute(frame: Frames, h: Frames) -> tuple[Frames, Frames]:
        # A GRU of hls4ml writes its state over the one it is given.
        new, scores = graph.predict([frame.reshape(1, 1, -1), h.reshape(1, units).copy()])
        return np.ravel(scores), np.ravel(new)

    return compute


def _layers(weights: Weights) -> list[dict[str, Any]]:
    """The step as hls4ml's layers."""
    (inputs, columns), (units, outputs) = weights.kernel.shape, weights.head.shape
    common = {"data_format": "channels_last"}
    recurrence = {
        "class_name": "GRU",
        "name": "step",
        "inputs": ["x", "h"],
        "outputs": ["step"],
        "n_timesteps": 1,
        "n_in": inputs,
        "n_out": columns // 3,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "return_sequences": False,
        "return_state": False,
        "direction": "forward",
        "time_major": False,
        "apply_reset_gate": "after",
        "pass_initial_states": True,
        "weight_data": weights.kernel,
        "recurrent_weight_data": weights.recurrent,
        "bias_data": weights.bias,
        "recurrent_bias_data": weights.recurrent_bias,
    }
    head = {
        "class_name": "Dense",
        "name": "head",
        "inputs": ["step"],
        "outputs": ["head"],
        "n_in": units,
        "n_out": outputs,
        "weight_data": weights.head,
        "bias_data": weights.head_bias,
    }
    return [
        {"class_name": "InputLayer", "name": "x", "input_shape": [1, inputs]},
        {"class_name": "InputLayer", "name": "h", "input_shape": [units]},
        {**recurrence, **common},
        {**head, **common},
    ]


def run_hls(step: Step, frames: Frames, units: int) -> NDArray[np.float64]:
    """Step the frames, each from the state of the one before; the scores [steps, outputs]."""
    h, scores = np.zeros(units, np.float32), []
    for frame in frames:
        one, h = step(np.ascontiguousarray(frame), h)
        scores.append(one)
    return np.asarray(scores, np.float64)


def errors(found: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
    """Compare scores [steps, outputs] with the float step's, see the module."""
    difference = (found - reference) / np.ptp(reference)
    return {
        "rms": float(np.sqrt(np.mean(difference**2))),
        "largest": float(np.abs(difference).max()),
        "same_decision": float(np.mean(found.argmax(1) == reference.argmax(1))),
    }


@click.command(help=__doc__)
@click.option("--units", default=32, show_default=True)
@click.option("--steps", default=1000, show_default=True)
@click.option("--project", type=Path, help="Where the C++ is kept, in a folder for each form.")
def main(units: int, steps: int, project: Path | None) -> None:
    """Compare hls4ml's steps and ours with the float step."""
    try:
        import hls4ml  # noqa: F401
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'edgestep[fpga]'") from error
    if shutil.which("g++") is None:
        raise click.ClickException("there is no g++; install one")
    task = load_task(TASK)
    frames = unseen_frames(task, steps)
    with tempfile.TemporaryDirectory() as folder:
        weights, files = trained_weights(task, units, Path(folder))
        scores = {
            f"step model, {scheme}": np.asarray(Stream(file).run(frames), np.float64)
            for scheme, file in zip(SCHEMES, files, strict=True)
        }
        for name, bits in HLS_TYPES.items():
            place = (project or Path(folder)) / f"gru-{units}-state-{bits[0]}"
            scores[name] = run_hls(hls_step(weights, frames, *bits, place), frames, units)
    reference = scores.pop(f"step model, {SCHEMES[0]}")
    rows = [{"step": name, **errors(found, reference)} for name, found in scores.items()]
    click.echo("| step | error rms | largest | same decision |\n|---|---|---|---|")
    for row in rows:
        click.echo(
            f"| {row['step']} | {row['rms']:.2%} | {row['largest']:.1%} "
            f"| {row['same_decision']:.1%} |"
        )
    write_record("hls_step", f"a GRU of {units} in C++ by hls4ml", rows)


if __name__ == "__main__":
    main()
