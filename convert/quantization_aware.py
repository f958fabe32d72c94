"""Quantization-aware training: fine-tune a step graph under the rounding it will have in int8."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from calibration.ranges import Ranges
from convert.errors import ContractViolationError
from convert.qat_settings import QATSettings
from convert.schemes.scheme import FloatStep, LayerName
from convert.schemes.spec import SchemeSpec
from convert.schemes.tensor_ranges import tensor_limits
from convert.simulation import SimulatedNetwork
from device_runner.model.flatbuffer import read_graph
from models.compress.distillation import soft_target_loss
from models.history import TrainingHistory
from models.losses import loss_for
from models.network import Architecture, recurrences
from models.tasks.sequence_set import TargetKind
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings

STEP_FILE = "step.tflite"
LIMITS_FILE = "limits.json"
PLAIN = SchemeSpec("int8", qat=True)


def float_network(step: FloatStep) -> SimulatedNetwork:
    """Make the float network of a step graph that was trained quantization-aware."""
    if step.limits is None:
        raise ContractViolationError("the step graph was not trained quantization-aware")
    return SimulatedNetwork(step, step.limits, simulate=False)


def save_step(folder: Path, step: FloatStep) -> None:
    """Write a step graph with its limits into ``folder``."""
    facts = {
        "state_bounds": step.state_bounds,
        "limits": step.limits,
        "initial": {name: np.asarray(value).tolist() for name, value in step.initial.items()},
        "vocabularies": step.vocabularies,
        "periods": step.periods,
        "layers": step.layers,
        "float_states": sorted(step.float_states),
        "kept_float": sorted(step.kept_float),
        "inputs": step.inputs,
        "outputs": step.outputs,
        "first_phase": step.first_phase,
    }
    (folder / STEP_FILE).write_bytes(step.flatbuffer)
    (folder / LIMITS_FILE).write_text(json.dumps(facts))


def load_step(folder: Path) -> FloatStep:
    """Read what :func:`save_step` wrote."""
    facts = json.loads((folder / LIMITS_FILE).read_text())
    limits = facts["limits"] and {
        name: (low, high) for name, (low, high) in facts["limits"].items()
    }
    return FloatStep(
        (folder / STEP_FILE).read_bytes(),
        facts["state_bounds"],
        limits,
        {name: np.array(value, np.float32) for name, value in facts["initial"].items()},
        facts["vocabularies"],
        periods=facts["periods"],
        layers=tuple(LayerName(*layer) for layer in facts["layers"]),
        float_states=frozenset(facts["float_states"]),
        kept_float=frozenset(facts["kept_float"]),
        inputs=tuple(facts["inputs"]),
        outputs=tuple(facts["outputs"]),
        first_phase=facts["first_phase"],
    )


class _Imitation(keras.Model):
    """The simulated network, wrapped for ``fit``.

    In training it gives its own outputs and the float network's on the same disturbed input, both
    [batch, steps, outputs]; otherwise its outputs alone. A function holds the float network, where
    Keras does not look for weights: they must be neither trained nor written to checkpoints.

    Args:
        noise, offset: standard deviations per input channel, [inputs] each, of noise on every
            value and of an offset per sequence; only in training.
        weight: weight of the float network's outputs against the task's targets, in [0, 1].
        kind: what kind of target the task has.
        loss_from: as in models.losses.loss_for.
    """

    def __init__(
        self,
        simulated: SimulatedNetwork,
        reference: SimulatedNetwork,
        noise: NDArray[np.float32],
        offset: NDArray[np.float32],
        weight: float,
        kind: TargetKind,
        loss_from: float,
    ) -> None:
        super().__init__(name="imitation")
        self.simulated = simulated
        self.reference: Callable[[tf.Tensor], tf.Tensor] = lambda x: tf.stop_gradient(reference(x))
        self.noise = noise
        self.offset = offset
        self.weight = weight
        self.kind = kind
        self.target_loss = loss_for(kind, loss_from)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> Any:
        if not training:
            return self.simulated(inputs)
        if inputs.dtype.is_integer:  # token ids cannot be disturbed
            return self.simulated(inputs), self.reference(inputs) if self.weight else None
        shape = tf.shape(inputs)
        x = inputs + tf.random.normal(shape) * self.noise
        x += tf.random.normal((shape[0], 1, shape[2])) * self.offset
        return self.simulated(x), self.reference(x) if self.weight else None

    def loss(
        self, outputs: tuple[tf.Tensor, tf.Tensor | None], targets: tf.Tensor, lengths: tf.Tensor
    ) -> tf.Tensor:
        given, wanted = outputs
        total = (1 - self.weight) * self.target_loss(given, targets, lengths)
        if wanted is None:
            return total
        if self.kind is not TargetKind.VALUES:
            return total + self.weight * soft_target_loss(
                given, tf.nn.softmax(wanted), lengths, temperature=1.0
            )
        return total + self.weight * self.target_loss(given, wanted, lengths)


def train_quantization_aware(
    network: keras.Sequential,
    architecture: Architecture,
    step: FloatStep,
    ranges: Ranges,
    task: Task,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    imitation: float = QATSettings.imitation,
    spec: SchemeSpec = PLAIN,
) -> tuple[FloatStep, SimulatedNetwork, TrainingHistory]:
    """Fine-tune a trained network's step graph for int8.

    Training starts from the float weights and the calibrated ranges, and learns weights and
    activation scales together; a state that the equations bound keeps its grid. The ranges are part
    of the result, so its export needs no calibration.

    Args:
        network: the trained network; it is left unchanged.
        step: its float step graph.
        ranges: ranges calibrated on ``step``.
        imitation: share of the loss that compares with the float network's outputs instead of the
            task's targets, in [0, 1].
        spec: the scheme of the export: it says whether each output channel of a matrix has a scale,
            and how the ranges are chosen that the scales start from.

    Returns:
        The step graph with trained weights and limits, the network that simulates it in int8, and
        the history of the fit.
    """
    graph = read_graph(step.flatbuffer)
    limits = tensor_limits(graph, ranges, step.state_bounds, spec.range_method, 8)
    # What a cell derives from its weights (ORU's Q) has a structure that training would destroy.
    derived = tuple(
        constant.numpy() for layer in recurrences(network) for constant in layer.cell.begin()
    )
    _, deviation = task.normalization
    simulated = SimulatedNetwork(
        step, limits, bounded=step.state_bounds, frozen=derived, per_channel=spec.per_channel
    )
    imitating = _Imitation(
        simulated,
        SimulatedNetwork(step, limits, simulate=False),
        architecture.input_noise * deviation,
        architecture.input_offset * deviation,
        imitation,
        task.train.kind,
        settings.loss_from,
    )
    history = fit(imitating, task, settings, checkpoint, progress, loss=imitating.loss)
    trained = replace(step, flatbuffer=simulated.float_flatbuffer(), limits=simulated.limits())
    return trained, simulated, history
