"""Magnitude pruning: the smallest weights become zero while the rest is fine-tuned.

Zeros make a file smaller under compression; stock runtimes compute them all the same, so a
magnitude-pruned model is no faster. Kernels that skip zeros want them in a pattern:

- ``single``: anywhere;
- ``2:4``: two of every four weights of one output that follow each other along the inputs
  (A. Mishra et al., "Accelerating sparse deep neural networks", 2021);
- ``16x1``: runs of 16 inputs of one output, kept or dropped as a whole. Keras' matrices are
  [inputs, outputs], so this is TFMOT's block (16, 1); its (1, 16) would run along the outputs.

A matrix whose inputs do not divide into the pattern (the input kernel of a few sensor channels)
stays dense.

Source: M. Zhu and S. Gupta, "To prune, or not to prune" (2017), as implemented by TFMOT.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from models.errors import ModelsError, UnknownNameError
from models.layers import Recurrence
from models.network import recurrences
from models.tasks.task import Task
from models.training import Progress, TrainingSettings, fit

# The sparsity rises over the first half of the epochs and is held over the second.
RAMP_SHARE = 0.5
MASK_UPDATE_STEPS = 5
# By pattern: how many inputs belong together, and TFMOT's arguments for it.
PATTERNS: dict[str, tuple[int, dict[str, Any]]] = {
    "single": (1, {}),
    "2:4": (4, {"sparsity_m_by_n": (2, 4)}),
    "16x1": (16, {"block_size": (16, 1), "block_pooling_type": "AVG"}),
}


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
    pattern: str = "single",
    checkpoint: Path | None = None,
) -> tuple[keras.Sequential, dict[str, Any]]:
    """Prune the matrices of all recurrences to ``sparsity`` while fine-tuning.

    Args:
        network: trained; left as it is.
        sparsity: share of each matrix' weights that become zero, in (0, 1); 0.5 for ``2:4``.
        settings: of the fine-tuning; the last epoch's weights are kept, as earlier ones are not
            yet sparse, and there is no early stopping.
        pattern: a name in PATTERNS.
        checkpoint: as for :func:`models.training.fit`.

    Returns:
        A new network without TFMOT's wrappers, and the history with ``sparsity_reached`` (share
        of zeros of each matrix, by layer and weight).

    Raises:
        UnknownNameError: there is no such pattern.
        ModelsError: the sparsity does not go with the pattern, or no matrix divides into it.
    """
    if pattern not in PATTERNS:
        raise UnknownNameError("pattern", pattern, PATTERNS)
    together, arguments = PATTERNS[pattern]
    if pattern == "2:4" and sparsity != 0.5:
        raise ModelsError(f"2:4 has a sparsity of 0.5, not {sparsity}; set it, or the pattern")
    batches = -(-len(task.train) // settings.batch_size)

    def dividing(layer: Recurrence) -> list[tf.Variable]:
        # TFMOT cannot take a matrix with a single row of blocks.
        return [
            weight
            for weight in layer.cell.get_prunable_weights()
            if weight.shape[0] % together == 0 and weight.shape[0] // together > 1
        ]

    if not any(dividing(layer) for layer in recurrences(network)):
        raise ModelsError(f"no matrix has two or more times {together} inputs, as {pattern} needs")
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
        copy.get_prunable_weights = lambda: dividing(copy)
        return tfmot.sparsity.keras.prune_low_magnitude(
            copy, pruning_schedule=schedule, **arguments
        )

    wrapped = keras.models.clone_model(network, clone_function=wrap)
    for source, target in zip(network.layers, wrapped.layers, strict=True):
        inner = target.layer if isinstance(source, Recurrence) else target
        inner.set_weights(source.get_weights())
    patient = replace(settings, patience=settings.epochs)
    history = fit(
        wrapped, task, patient, checkpoint, progress, hook=_PruningHook(wrapped), keep="last"
    )
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    history["sparsity_reached"] = {
        f"{layer.name}/{_short_name(weight)}": round(_share_of_zeros(weight), 4)
        for layer in recurrences(stripped)
        for weight in layer.cell.get_prunable_weights()
    }
    return stripped, history


def pattern_holds(matrix: np.ndarray, pattern: str) -> bool:
    """Whether the zeros of a matrix [inputs, outputs] lie as a pattern wants them."""
    together, _ = PATTERNS[pattern]
    groups = (matrix != 0).reshape(-1, together, matrix.shape[1]).sum(1)
    if pattern == "2:4":
        return bool((groups <= 2).all())
    return bool(np.isin(groups, (0, together)).all())


def _short_name(weight: tf.Variable) -> str:
    """ "kernel" of ".../lstm_cell/kernel:0"; scopes and counters of Keras say nothing here."""
    return weight.name.rsplit("/", 1)[-1].split(":")[0]


def _share_of_zeros(weight: tf.Variable) -> float:
    return float(np.mean(weight.numpy() == 0))
