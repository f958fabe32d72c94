"""Quantization-aware training: fine-tunes a step graph under the rounding it will have in int8."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import tf_keras as keras

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from convert.schemes.limits import tensor_limits
from convert.schemes.scheme import FloatStep
from convert.simulation import SimulatedNetwork
from device_runner.flatbuffer import read_graph
from models.network import Architecture, recurrences
from models.tasks.task import Task
from models.training import Progress, TrainingSettings, fit

STEP_FILE = "step.tflite"
LIMITS_FILE = "limits.json"


def float_network(step: FloatStep) -> SimulatedNetwork:
    """The float network of a step graph that was trained quantization-aware."""
    if step.limits is None:
        raise ContractViolationError("the step graph was not trained quantization-aware")
    return SimulatedNetwork(step, step.limits, simulate=False)


def save_step(folder: Path, step: FloatStep) -> None:
    """Write a step graph with its limits into ``folder``."""
    facts = {"state_bounds": step.state_bounds, "limits": step.limits}
    (folder / STEP_FILE).write_bytes(step.flatbuffer)
    (folder / LIMITS_FILE).write_text(json.dumps(facts))


def load_step(folder: Path) -> FloatStep:
    """Read what :func:`save_step` wrote."""
    facts = json.loads((folder / LIMITS_FILE).read_text())
    limits = {name: (low, high) for name, (low, high) in facts["limits"].items()}
    return FloatStep((folder / STEP_FILE).read_bytes(), facts["state_bounds"], limits)


def train_quantization_aware(
    network: keras.Sequential,
    architecture: Architecture,
    step: FloatStep,
    ranges: Ranges,
    task: Task,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[FloatStep, SimulatedNetwork, dict[str, Any]]:
    """Fine-tune a trained network's step graph for int8.

    Weights and the scales of activations are learned together, from the float weights and the
    calibrated ranges on; a state that the equations bound keeps its grid. The ranges are part of
    the result, so its export needs no calibration.

    Args:
        network: trained; left as it is.
        step: its float step graph.
        ranges: calibrated on ``step``.

    Returns:
        The step graph with trained weights and limits, the network that simulates it in int8, and
        the history of the fit.
    """
    graph = read_graph(step.flatbuffer)
    limits = tensor_limits(graph, ranges, step.state_bounds, "min-max", 8)
    # What a cell derives from its weights (ORU's Q) has a structure that free training would lose.
    derived = tuple(
        constant.numpy() for layer in recurrences(network) for constant in layer.cell.begin()
    )
    _, deviation = task.normalization
    simulated = SimulatedNetwork(
        step,
        limits,
        bounded=step.state_bounds,
        frozen=derived,
        noise=architecture.input_noise * deviation,
        offset=architecture.input_offset * deviation,
    )
    history = fit(simulated, task, settings, checkpoint, progress)
    trained = replace(step, flatbuffer=simulated.float_flatbuffer(), limits=simulated.limits())
    return trained, simulated, history
