"""Fitting a network to a task: reproducible and resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.augmentation import Augmentation
from models.checkpoint import Checkpoint
from models.distribution import Group, check_batch, group_of, shared_step
from models.errors import DivergedError, ModelsError
from models.history import EpochRecord, TrainingHistory
from models.losses import Loss, loss_for
from models.prediction import judge, predict
from models.tasks.sequence_set import SequenceSet, TargetKind
from models.tasks.task import Task
from models.training_settings import TrainingSettings

CHECKPOINT_INTERVAL_S = 5.0
# With group_lengths: from how many batches' sequences those of one length are taken together, and
# at how many lengths a batch may be cut.
GROUPED_BATCHES, CUTS = 16, 4

#: Called after each epoch with (epochs done, epochs in all, the epoch's losses).
Progress = Callable[[int, int, EpochRecord], None]

# (inputs, targets, lengths) of a batch -> its loss and its gradients' norm, both scalars.
_TrainStep = Callable[[Any, Any, Any], tuple[tf.Tensor, tf.Tensor]]


class StepHook(Protocol):
    """What a compression does while a network is fitted."""

    def before_step(self) -> None:
        """Called before each batch."""

    def after_epoch(self) -> None:
        """Called after each epoch's last batch."""


def fit(
    network: keras.Model,
    task: Task,
    settings: TrainingSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    hook: StepHook | None = None,
    loss: Loss | None = None,
) -> TrainingHistory:
    """Fit ``network`` to the task's training data, in place.

    The loss is that of every step from ``settings.loss_from`` on (so that there is a prediction
    after each), see :func:`models.losses.loss_for`. Early stopping looks at the validation data
    alone. In the scope of a strategy of ``tf.distribute``, where the network was made, its replicas
    train together.

    Args:
        network: [batch, steps, channels] -> [batch, steps, outputs], logits or values; with
            ``loss`` it may give anything in training, but those otherwise.
        checkpoint: file to resume from, written every few seconds; with the same settings and
            data a resumed run computes what an uninterrupted one does, but for the random numbers
            of noise and dropout, which start anew.
        progress: called after each epoch.
        hook: called around steps and epochs.
        loss: what to minimize instead; the validation loss stays the task's.

    Raises:
        DivergedError: the loss is no longer finite.
        ModelsError: augmentation, replicas or checkpoint do not suit task, batch or network.
    """
    check_augmentation(settings.augmentation, task)
    group = _group(settings)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(network.trainable_variables)
    own_loss, kind = loss or loss_for(task.train.kind, settings.loss_from), task.train.kind
    train_step = _train_step(group, network, optimizer, settings.clip_norm, own_loss, kind)
    judged = _judge(network, task, settings.loss_from)
    state = Checkpoint(network, optimizer, checkpoint, group.bytes_from_first)
    history = state.history
    last_saved = time.monotonic()
    for epoch in range(len(history), settings.epochs):
        if epoch - history.best_epoch > settings.patience:
            break
        start = time.perf_counter()
        optimizer.learning_rate.assign(_cosine(settings.learning_rate, epoch / settings.epochs))
        loss_now, norm = _train_epoch(train_step, task.train, settings, epoch, hook)
        # All machines go by the first one's, as they may round differently.
        validation_loss, score = group.from_first(np.array(judged())).tolist()
        _check_validation(validation_loss, epoch)
        record = EpochRecord(loss_now, validation_loss, score, norm, time.perf_counter() - start)
        history.append(record)
        state.keep_if_best(epoch, record.validation_loss)
        if progress:
            progress(epoch + 1, settings.epochs, record)
        if time.monotonic() - last_saved > CHECKPOINT_INTERVAL_S:
            state.save()
            last_saved = time.monotonic()
    if settings.keep == "best":
        state.restore_best()
    return history


def _judge(network: keras.Model, task: Task, loss_from: float) -> Callable[[], tuple[float, float]]:
    """Make what computes loss and score on the validation data of the network as it is then."""
    forward = tf.function(lambda frames: network(frames, training=False))
    data = task.validation
    return lambda: judge(predict(network, data, forward), data, task.score, loss_from)


def _group(settings: TrainingSettings) -> Group:
    """Return the replicas of the scope, which must be able to share a batch."""
    group = group_of(tf.distribute.get_strategy())
    check_batch(group, settings.batch_size)
    return group


def _train_epoch(
    train_step: _TrainStep,
    data: SequenceSet,
    settings: TrainingSettings,
    epoch: int,
    hook: StepHook | None,
) -> tuple[float, float]:
    """Train on every sequence once; the means of the batches' losses and gradient norms.

    Raises:
        DivergedError: a loss is no longer finite.
    """
    x, targets, lengths = data.padded, data.targets, data.lengths
    generator = np.random.default_rng([settings.seed, epoch])
    order = generator.permutation(len(x))
    if settings.augmentation:
        x, lengths = settings.augmentation.apply(x, lengths, generator)
    count = math.ceil(len(x) / settings.batch_size)
    # np.resize fills the last batch from the front, so that all batches have one shape.
    batches = np.resize(order, (count, settings.batch_size))
    if settings.group_lengths:
        batches = _grouped(batches, lengths, generator)
    by_step = data.kind in (TargetKind.VALUES, TargetKind.STEP_LABELS)
    losses, norms = [], []
    for batch in batches:
        if hook:
            hook.before_step()
        end = _end(lengths[batch], x.shape[1]) if settings.group_lengths else x.shape[1]
        wanted = targets[batch, :end] if by_step else targets[batch]
        batch_loss, norm = train_step(x[batch, :end], wanted, lengths[batch])
        losses.append(float(batch_loss))
        norms.append(float(norm))
    if hook:
        hook.after_epoch()
    if not np.isfinite(losses).all():
        raise DivergedError(
            f"the loss became {losses[-1]} in epoch {epoch + 1}; "
            "lower learning_rate or clip_norm in the recipe's [training]"
        )
    return float(np.mean(losses)), float(np.mean(norms))


def _grouped(
    batches: NDArray[Any], lengths: NDArray[Any], generator: np.random.Generator
) -> NDArray[Any]:
    """Sort the sequences of each few batches [batches, batch] by length, and mix the batches."""
    grouped = []
    for first in range(0, len(batches), GROUPED_BATCHES):
        some = batches[first : first + GROUPED_BATCHES]
        drawn = some.reshape(-1)
        grouped.append(drawn[np.argsort(lengths[drawn], kind="stable")].reshape(some.shape))
    return np.asarray(generator.permutation(np.concatenate(grouped)))


def _end(lengths: NDArray[Any], longest: int) -> int:
    """Where a batch is cut: at one of a few lengths, as a graph is traced for each."""
    part = math.ceil(longest / CUTS)
    return min(longest, part * math.ceil(int(lengths.max()) / part))


def _check_validation(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the validation loss became {loss} in epoch {epoch + 1}; "
            "check the validation data for NaN"
        )


def check_augmentation(augmentation: Augmentation | None, task: Task) -> None:
    """Raise ModelsError where the augmentation does not suit the task."""
    if not augmentation:
        return
    if task.vocabulary:
        raise ModelsError(f"the inputs of {task.name} are token ids; leave out the augmentation")
    if augmentation.stretch and task.train.kind not in (TargetKind.LABEL, TargetKind.TRANSCRIPT):
        raise ModelsError(
            f"{task.name} wants something of every step, which 'stretch' would move; set it to 0"
        )


def _train_step(
    group: Group,
    network: keras.Model,
    optimizer: Any,
    clip_norm: float,
    loss_of: Loss,
    kind: TargetKind,
) -> _TrainStep:
    if group.replicas > 1:
        return shared_step(group, network, optimizer, clip_norm, loss_of, kind)
    variables = network.trainable_variables

    def train_step(
        x: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = loss_of(network(x, training=True), targets, lengths)
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), clip_norm)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, norm

    compiled: _TrainStep = tf.function(train_step, jit_compile=False)
    return compiled


def _cosine(rate: float, progress: float) -> float:
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
