"""Fitting a network to a task: reproducible, resumable, with the health of its gradients."""

from __future__ import annotations

import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.augmentation import Augmentation
from models.errors import DivergedError, ModelsError
from models.metrics import Metric, usual_metric
from models.network import Recurrence
from models.tasks.task import SequenceSet, Task
from models.tensorflow_log import quiet

CHECKPOINT_INTERVAL_S = 5.0
# Sequences that are run at once.
PREDICTION_BATCH = 256


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
    state = _State(network, optimizer, checkpoint)
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
        validation_loss, validation_score = _judged(
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


def evaluate(
    network: keras.Model, data: SequenceSet, metric: Metric | None = None
) -> tuple[float, float]:
    """Loss (see :func:`task_loss`) and score: the value of ``metric``, or of the one that is
    usual for such data (:func:`models.metrics.usual_metric`)."""
    return _judged(predict(network, data), data, metric or usual_metric(data))


def _judged(outputs: np.ndarray, data: SequenceSet, metric: Metric) -> tuple[float, float]:
    loss = task_loss(tf.constant(outputs), tf.constant(data.targets), tf.constant(data.lengths))
    return float(loss), metric.compute(outputs, data)


def task_loss(outputs: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """What a task is fitted by: the cross entropy of every step for class indices [batch], that
    of the steps where a label is wanted for class indices [batch, steps], the mean squared error
    for values [batch, steps, outputs]; see :func:`mean_over_steps`."""
    targets = tf.convert_to_tensor(targets)
    if not targets.dtype.is_integer:
        return mean_over_steps(tf.reduce_mean(tf.square(outputs - targets), -1), lengths)
    if len(targets.shape) == 2:
        return step_label_loss(outputs, targets)
    return sequence_loss(outputs, targets, lengths)


def step_label_loss(logits: tf.Tensor, step_labels: tf.Tensor) -> tf.Tensor:
    """Mean cross entropy of all steps where a label is wanted: logits [batch, steps, classes],
    class indices [batch, steps] (-1: none wanted) -> scalar, in nats; 0 where no step wants one."""
    wanted = tf.cast(step_labels >= 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(step_labels, 0), logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * wanted), tf.reduce_sum(wanted))


def sequence_loss(logits: tf.Tensor, labels: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Cross entropy of every step, see :func:`mean_over_steps`: logits [batch, steps, classes],
    class indices [batch], lengths [batch] -> scalar, in nats."""
    every_step = tf.repeat(labels[:, tf.newaxis], tf.shape(logits)[1], axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(every_step, logits)
    return mean_over_steps(losses, lengths)


def mean_over_steps(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Mean over each sequence's own steps, then over the sequences: values [batch, steps] and
    lengths [batch] -> scalar. What comes after a sequence's end does not count."""
    mask = tf.sequence_mask(lengths, tf.shape(values)[1], dtype=tf.float32)
    return tf.reduce_mean(tf.reduce_sum(values * mask, 1) / tf.reduce_sum(mask, 1))


def predict(
    network: keras.Model, data: SequenceSet, forward: Callable[[Any], tf.Tensor] | None = None
) -> np.ndarray:
    """Outputs of every step, float32 [sequences, longest, outputs]; after a sequence's end they
    mean nothing.

    Args:
        forward: the network's forward pass, compiled; to be given where one network is run again
            and again, as Keras' predict spends 80 ms on preparing.
    """
    if forward is None:
        with quiet():  # TensorFlow warns of a new trace for each network
            return network.predict(data.padded, batch_size=PREDICTION_BATCH, verbose=0)
    x = data.padded
    starts = range(0, len(x), PREDICTION_BATCH)
    return np.concatenate(
        [forward(x[start : start + PREDICTION_BATCH]).numpy() for start in starts]
    )


def gradient_norms_through_time(
    network: keras.Sequential, x: np.ndarray, targets: np.ndarray
) -> list[list[float]]:
    """How much of the last step's loss reaches each earlier state.

    Args:
        x: sequences of one length, [batch, steps, channels].
        targets: what is wanted after the last step: class indices [batch], or values
            [batch, outputs].

    Returns:
        For every recurrence, the norm of d loss(last step) / d state(t), averaged over the batch,
        for t = 0 ... steps - 1 (state 0 is the initial one). The state is what one step hands to
        the next: what a step gives to the layer above it at once, or a slow recurrence until its
        next step, is not counted.
    """
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    cells = [layer for layer in layers if isinstance(layer, Recurrence)]
    states: list[list[tuple[tf.Tensor, ...]]] = [
        [tuple(cell.initial_states(len(x)))] for cell in cells
    ]
    constants = [layer.cell.begin() for layer in cells]
    outputs: list[Any] = [None] * len(cells)
    with tf.GradientTape() as tape:
        for history in states:
            tape.watch(history[0])
        for step in range(x.shape[1]):
            value = tf.constant(x[:, step])
            index = 0
            for layer in layers:
                if isinstance(layer, Recurrence):
                    new = states[index][-1]
                    if step % layer.period == 0:
                        outputs[index], new = layer.step(value, new, constants[index])
                    # The identity cuts a state off from its siblings: an LSTM's h is computed
                    # from its c, and would be counted in both.
                    states[index].append(tuple(tf.identity(state) for state in new))
                    value = outputs[index]
                    index += 1
                elif isinstance(layer, keras.layers.Concatenate):
                    value = layer(outputs)
                else:
                    value = layer(value)
        wanted = tf.constant(targets)
        if wanted.dtype.is_integer:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, value)
        else:
            losses = tf.reduce_mean(tf.square(value - wanted), -1)
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(
        loss,
        [history[:-1] for history in states],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [
        [float(tf.reduce_mean(tf.norm(tf.concat(at_step, -1), axis=-1))) for at_step in history]
        for history in gradients
    ]


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


HISTORY_FIELDS = ("loss", "validation_loss", "validation_score", "gradient_norm", "seconds")


class _State:
    """What a resumed run needs: weights, the optimizer's moments, the best weights, history."""

    def __init__(self, network: keras.Model, optimizer: Any, file: Path | None) -> None:
        self.network = network
        self.optimizer = optimizer
        self.file = file
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY_FIELDS}
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights: Sequence[np.ndarray] = network.get_weights()
        if file is not None and file.exists():
            self._load(file)

    def keep_if_best(self, epoch: int, validation_loss: float) -> None:
        if validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, epoch
            self.best_weights = self.network.get_weights()

    def restore_best(self) -> None:
        self.network.set_weights(self.best_weights)

    def save(self) -> None:
        if self.file is None:
            return
        arrays = {
            **{f"weight{i}": value for i, value in enumerate(self.network.get_weights())},
            **{f"best{i}": value for i, value in enumerate(self.best_weights)},
            **{f"optimizer{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)},
        }
        facts = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        with partial.open("wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(partial, self.file)

    def _load(self, file: Path) -> None:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                count = len(self.network.get_weights())
                self.network.set_weights([arrays[f"weight{i}"] for i in range(count)])
                self.best_weights = [arrays[f"best{i}"] for i in range(count)]
                for index, variable in enumerate(self.optimizer.variables):
                    variable.assign(arrays[f"optimizer{index}"])
            self.history = {name: list(facts["history"][name]) for name in HISTORY_FIELDS}
            self.best_epoch, self.best_loss = int(facts["best_epoch"]), float(facts["best_loss"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ModelsError(
                f"{file}: the checkpoint cannot be read ({error}); remove it to train anew"
            ) from error
