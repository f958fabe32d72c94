"""Fitting a network to a task: reproducible, resumable, with the health of its gradients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.augmentation import Augmentation
from models.checkpoint import Checkpoint
from models.errors import DivergedError, ModelsError
from models.losses import task_loss
from models.prediction import judge, predict
from models.tasks.task import Task

CHECKPOINT_INTERVAL_S = 5.0


@dataclass(frozen=True)
class TrainingSettings:
    """How to fit.

    ``learning_rate`` falls to a hundredth along a cosine over ``epochs``; gradients are clipped
    to the global norm ``clip_norm``; training stops after ``patience`` epochs without a lower
    validation loss, and the weights of the best epoch are kept. Every epoch sees the training
    data varied by ``augmentation``, where there is one; the validation data stay as they are.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 5e-3
    clip_norm: float = 1.0
    patience: int = 25
    seed: int = 1
    augmentation: Augmentation | None = None


class StepHook(Protocol):
    """What a compression technique does while a network is fitted."""

    def before_step(self) -> None: ...

    def after_epoch(self) -> None: ...


Progress = Callable[[int, int, dict[str, float]], None]

# (what the network gives in training, targets of the batch as SequenceSet.targets has them,
# lengths [batch]) -> scalar to minimize.
Loss = Callable[[Any, tf.Tensor, tf.Tensor], tf.Tensor]


def fit(
    network: keras.Model,
    task: Task,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    hook: StepHook | None = None,
    keep: str = "best",
    loss: Loss | None = None,
) -> dict[str, Any]:
    """Fit ``network`` to the task's training data, in place.

    The loss is that of every step (so that there is a prediction after each), see
    :func:`task_loss`. Early stopping looks at the validation data alone.

    Args:
        network: [batch, steps, channels] -> [batch, steps, outputs], logits or values; with
            ``loss`` it may give anything in training, but those otherwise.
        checkpoint: file to resume from, written every few seconds; with the same settings and
            data a resumed run computes what an uninterrupted one does, but for the random numbers
            of noise and dropout, which start anew.
        progress: called after each epoch with (epoch, epochs, its losses).
        hook: called around steps and epochs.
        keep: "best" or "last" epoch's weights.
        loss: what to minimize instead, see :data:`Loss`; the validation loss stays the task's.

    Returns:
        The history: per epoch loss, validation loss and score (of the task's metric), gradient
        norm, seconds; and the index of the epoch that was kept.

    Raises:
        DivergedError: the loss is no longer finite.
        ModelsError: the augmentation does not suit the task.
    """
    _check_augmentation(settings.augmentation, task)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(network.trainable_variables)
    train_step = _train_step(network, optimizer, settings.clip_norm, loss or task_loss)
    x, targets, lengths = task.train.padded, task.train.targets, task.train.lengths
    data, own_lengths = x, lengths
    batches = math.ceil(len(x) / settings.batch_size)
    forward = tf.function(lambda frames: network(frames, training=False))
    state = Checkpoint(network, optimizer, checkpoint)
    history = state.history
    last_saved = time.monotonic()
    for epoch in range(len(history["loss"]), settings.epochs):
        if epoch - state.best_epoch > settings.patience:
            break
        start = time.perf_counter()
        optimizer.learning_rate.assign(_cosine(settings.learning_rate, epoch / settings.epochs))
        generator = np.random.default_rng([settings.seed, epoch])
        order = generator.permutation(len(x))
        if settings.augmentation:
            x, lengths = settings.augmentation.apply(data, own_lengths, generator)
        losses, norms = [], []
        # np.resize fills the last batch from the front, so that all batches have one shape.
        for batch in np.resize(order, (batches, settings.batch_size)):
            if hook:
                hook.before_step()
            batch_loss, norm = train_step(x[batch], targets[batch], lengths[batch])
            losses.append(float(batch_loss))
            norms.append(float(norm))
        if hook:
            hook.after_epoch()
        if not np.isfinite(losses).all():
            raise DivergedError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}; "
                "lower learning_rate or clip_norm in the recipe's [training]"
            )
        validation_loss, validation_score = judge(
            predict(network, task.validation, forward), task.validation, task.score
        )
        if not math.isfinite(validation_loss):
            raise DivergedError(
                f"the validation loss became {validation_loss} in epoch {epoch + 1}; "
                "check the validation data for NaN"
            )
        entry = {
            "loss": float(np.mean(losses)),
            "validation_loss": validation_loss,
            "validation_score": validation_score,
            "gradient_norm": float(np.mean(norms)),
            "seconds": time.perf_counter() - start,
        }
        for name, value in entry.items():
            history[name].append(value)
        state.keep_if_best(epoch, validation_loss)
        if progress:
            progress(epoch + 1, settings.epochs, entry)
        if time.monotonic() - last_saved > CHECKPOINT_INTERVAL_S:
            state.save()
            last_saved = time.monotonic()
    if keep == "best":
        state.restore_best()
    return {**history, "best_epoch": state.best_epoch}


def _check_augmentation(augmentation: Augmentation | None, task: Task) -> None:
    if not augmentation:
        return
    if task.vocabulary:
        raise ModelsError(f"the inputs of {task.name} are token ids; leave out the augmentation")
    if augmentation.stretch and task.train.targets.ndim > 1:
        raise ModelsError(
            f"{task.name} wants something of every step, which 'stretch' would move; set it to 0"
        )


def _train_step(network: keras.Model, optimizer: Any, clip_norm: float, loss_of: Loss) -> Any:
    variables = network.trainable_variables

    @tf.function(jit_compile=False)
    def train_step(x: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            loss = loss_of(network(x, training=True), targets, lengths)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), clip_norm)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, norm

    return train_step


def _cosine(rate: float, progress: float) -> float:
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
