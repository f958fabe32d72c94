"""Magnitude pruning: the smallest weights become zero while the rest is fine-tuned.

Zeros make a file smaller under compression; stock runtimes compute them all the same, so a
magnitude-pruned model is no faster. Kernels that skip zeros want them in a pattern:

- ``single``: anywhere;
- ``2:4``: two of every four weights of one output that follow each other along the inputs
  (A. Mishra et al., "Accelerating sparse deep neural networks", 2021);
- ``16x1``: runs of 16 inputs of one output, kept or dropped as a whole;
- ``1x16``: runs of 16 outputs of one input, which libedgestep skips.

Blocks are named as Keras' matrices lie, [inputs, outputs], and as TFMOT's ``block_size``. A matrix
that does not divide into the pattern stays dense, and so does one with fewer inputs than a block
has weights: where 12 sensor channels go into a cell, a block of ``1x16`` would cut 16 units off
from a channel.

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
from numpy.typing import NDArray

from models.compress import PATTERNS, PruneSettings
from models.compress.compressed import Compressed
from models.errors import ModelsError
from models.layers import Recurrence
from models.network import Architecture, recurrences
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import TrainingSettings

# The sparsity rises over the first half of the epochs and is held over the second.
RAMP_SHARE = 0.5
MASK_UPDATE_STEPS = 5
# By pattern: TFMOT's arguments for it.
PATTERN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "single": {},
    "2:4": {"sparsity_m_by_n": (2, 4)},
    **{
        name: {"block_size": PATTERNS[name], "block_pooling_type": "AVG"}
        for name in ("16x1", "1x16")
    },
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
    network: keras.Model,
    architecture: Architecture,
    task: Task,
    settings: PruneSettings,
    training: TrainingSettings,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Compressed:
    """Prune the matrices of all recurrences while fine-tuning.

    Args:
        network: trained; left as it is.
        settings: ``sparsity``, the share of each matrix' weights that become zero, and
            ``pattern``.
        training: of the fine-tuning; the last epoch's weights are kept, as earlier ones are not
            yet sparse, and there is no early stopping.
        progress, checkpoint: as for :func:`models.training.fit`.

    Returns:
        A new network without TFMOT's wrappers; its facts have ``sparsity_reached`` (share of zeros
        of each matrix, by layer and weight).

    Raises:
        ModelsError: no matrix divides into the pattern.
        DivergedError: the fine-tuning lost its numbers; lower its learning rate.
    """
    batches = -(-len(task.train) // training.batch_size)
    # TFMOT moves its masks every few steps only, and must do so at the ramp's very end.
    updates = max(1, round(RAMP_SHARE * training.epochs * batches / MASK_UPDATE_STEPS))
    wrapped = _wrapped(network, settings, updates * MASK_UPDATE_STEPS)
    patient = replace(training, patience=training.epochs, keep="last")
    history = fit(wrapped, task, patient, checkpoint, progress, hook=_PruningHook(wrapped))
    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    reached = {
        f"{layer.name}/{_short_name(weight)}": round(_share_of_zeros(weight), 4)
        for layer in recurrences(stripped)
        for weight in layer.cell.get_prunable_weights()
    }
    return Compressed(stripped, architecture, history, {"sparsity_reached": reached})


def _wrapped(network: keras.Model, settings: PruneSettings, ramp: int) -> keras.Model:
    """The network in TFMOT's wrappers, with its own weights; the sparsity is reached after ``ramp``
    batches."""
    check_pattern(network, settings.pattern)
    block = PATTERNS[settings.pattern]
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, settings.sparsity or 0.0, begin_step=0, end_step=ramp, frequency=MASK_UPDATE_STEPS
    )

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, Recurrence):
            return layer.__class__.from_config(layer.get_config())
        copy = Recurrence.from_config(layer.get_config())
        copy.get_prunable_weights = lambda: _dividing(copy, block)
        return tfmot.sparsity.keras.prune_low_magnitude(
            copy, pruning_schedule=schedule, **PATTERN_ARGUMENTS[settings.pattern]
        )

    wrapped = keras.models.clone_model(network, clone_function=wrap)
    for source, target in zip(network.layers, wrapped.layers, strict=True):
        inner = target.layer if isinstance(source, Recurrence) else target
        inner.set_weights(source.get_weights())
    return wrapped


def check_pattern(network: keras.Model, pattern: str) -> None:
    """Raise ModelsError where no matrix of the network divides into the pattern."""
    block = PATTERNS[pattern]
    if not any(_dividing(layer, block) for layer in recurrences(network)):
        needed = f"{block[1]} inputs and outputs" if block[1] > 1 else f"{block[0]} inputs"
        raise ModelsError(f"no matrix has two or more times {needed}, as {pattern} needs")


def _dividing(layer: Recurrence, block: tuple[int, int]) -> list[tf.Variable]:
    """The matrices that divide into blocks of so many inputs and outputs."""
    return [
        weight
        for weight in layer.cell.get_prunable_weights()
        if weight.shape[0] >= block[0] * block[1]
        # TFMOT cannot take a matrix with a single row or column of blocks.
        and all(
            size % side == 0 and size // side > 1
            for size, side in zip(weight.shape, block, strict=True)
        )
    ]


def pattern_holds(matrix: NDArray[Any], pattern: str) -> bool:
    """Tell whether the zeros of a matrix [inputs, outputs] lie as a pattern wants them."""
    tall, wide = PATTERNS[pattern]
    rows, columns = matrix.shape
    groups = (matrix != 0).reshape(rows // tall, tall, columns // wide, wide).sum((1, 3))
    if pattern == "2:4":
        return bool((groups <= 2).all())
    return bool(np.isin(groups, (0, tall * wide)).all())


def _short_name(weight: tf.Variable) -> str:
    """ "kernel" of ".../lstm_cell/kernel:0"; scopes and counters of Keras say nothing here."""
    return str(weight.name).rsplit("/", 1)[-1].split(":")[0]


def _share_of_zeros(weight: tf.Variable) -> float:
    return float(np.mean(weight.numpy() == 0))
