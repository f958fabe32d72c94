"""Quantization-aware training: fine-tunes a step graph under the rounding it will have in int8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tf_keras as keras

from calibration.ranges import Ranges
from convert.schemes.limits import tensor_limits
from convert.schemes.scheme import FloatStep
from convert.simulation import SimulatedNetwork
from device_runner.flatbuffer import read_graph
from models.network import Architecture, recurrences
from models.tasks.task import Task
from models.training import Progress, TrainingSettings, fit


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

    Weights and the ranges of activations are learned together, from the float weights and the
    calibrated ranges on; the grids of the states stay as the contract has them. The ranges are
    part of the result, so its export needs no calibration.

    Args:
        network: trained; left as it is.
        step: its float step graph.
        ranges: calibrated on ``step``.

    Returns:
        The step graph with trained weights and limits, the simulation (``simulate`` on), and the
        history of the fit.
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
        frozen=derived,
        noise=architecture.input_noise * deviation,
        offset=architecture.input_offset * deviation,
    )
    history = fit(simulated, task, settings, checkpoint, progress)
    trained = replace(step, flatbuffer=simulated.float_flatbuffer(), limits=simulated.limits())
    return trained, simulated, history
