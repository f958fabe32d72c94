"""Magnitude pruning: the smallest weights become zero while the rest is fine-tuned.

Zeros make a file smaller under compression; stock runtimes compute them all the same, so a
magnitude-pruned model is no faster.
Source: M. Zhu and S. Gupta, "To prune, or not to prune" (2017), as implemented by TFMOT.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from models.network import Recurrence, recurrences
from models.tasks.task import Task
from models.training import Progress, TrainingSettings, fit

# The sparsity rises over the first half of the epochs and is held over the second.
RAMP_SHARE = 0.5
MASK_UPDATE_STEPS = 5


class _PruningHook:
    """Moves TFMOT's pruning along with a training loop that is not Keras' own."""

    def __init__(self, network: keras.Model) -> None:
        self.callback = tfmot.sparsity.keras.UpdatePruningStep()
        self.callback.set_model(network)
        self.callback.on_train_begin()

    def before_step(self) -> None:
        self.callback.on_train_batch_begin(batch=-1)

    def after_epoch(self) -> None:
        self.callback.on_epoch_end(batch=-1)


def prune_by_magnitude(
    network: keras.Sequential,
    task: Task,
    sparsity: float,
    settings: TrainingSettings,
    progress: Progress | None = None,
) -> tuple[keras.Sequential, dict[str, Any]]:
    """Prune the matrices of all recurrences to ``sparsity`` while fine-tuning.

    Args:
        network: trained; left as it is.
        sparsity: share of each matrix' weights that become zero, in (0, 1).
        settings: of the fine-tuning; the last epoch's weights are kept, as earlier ones are not
            yet sparse, and there is no early stopping.

    Returns:
        A new network without TFMOT's wrappers, and the history with ``sparsity_reached`` (share
        of zeros of each pruned matrix, by layer and weight).
    """
    batches = -(-len(task.train) // settings.batch_size)
    # TFMOT moves its masks every few steps only, and must do so at the ramp's very end.
    updates = max(1, round(RAMP_SHARE * settings.epochs * batches / MASK_UPDATE_STEPS))
    ramp = updates * MASK_UPDATE_STEPS
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, sparsity, begin_step=0, end_step=ramp, frequency=MASK_UPDATE_STEPS
    )

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, Recurrence):
            return layer.__class__.from_config(layer.get_config())
        copy = Recurrence.from_config(layer.get_config())
        return tfmot.sparsity.keras.prune_low_magnitude(copy, pruning_schedule=schedule)

    wrapped = keras.models.clone_model(network, clone_function=wrap)
    for source, target in zip(network.layers, wrapped.layers, strict=True):
        inner = target.layer if isinstance(source, Recurrence) else target
        inner.set_weights(source.get_weights())
    patient = replace(settings, patience=settings.epochs)
    history = fit(
        wrapped, task, patient, progress=progress, hook=_PruningHook(wrapped), keep="last"
    )
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    history["sparsity_reached"] = {
        f"{layer.name}/{_short_name(weight)}": round(_share_of_zeros(weight), 4)
        for layer in recurrences(stripped)
        for weight in layer.get_prunable_weights()
    }
    return stripped, history


def _short_name(weight: tf.Variable) -> str:
    """ "kernel" of ".../lstm_cell/kernel:0"; scopes and counters of Keras say nothing here."""
    return weight.name.rsplit("/", 1)[-1].split(":")[0]


def _share_of_zeros(weight: tf.Variable) -> float:
    return float(np.mean(weight.numpy() == 0))
