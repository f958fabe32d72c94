"""Knowledge distillation: a small network learns from what a large one says after every step.

The teacher's class probabilities, softened by a temperature, tell the student at every step how
alike the classes are, and before a sequence's end how sure one can be by then; the label alone
says neither. Optionally the student's hidden states are drawn to the teacher's.
The student is a network like any other: nothing of the teacher is left in it.

Sources: G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network" (2015);
hints: A. Romero et al., "FitNets: hints for thin deep nets" (ICLR 2015), here along with the
distillation instead of before it; that teacher and student must see the very same augmented
input: L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent"
(CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.errors import ModelsError
from models.history import TrainingHistory
from models.layers import Normalization, SensorNoise
from models.losses import Loss, loss_for, mean_over_steps
from models.network import recurrences
from models.prediction import predict
from models.tasks.sequence_set import TargetKind
from models.tasks.task import Task
from models.training import Progress, fit
from models.training_settings import DistillationSettings, TrainingSettings


def distil(
    teacher: keras.Model | Sequence[keras.Model],
    student: keras.Model,
    task: Task,
    settings: TrainingSettings,
    distillation: DistillationSettings | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> TrainingHistory:
    """Fit ``student`` to the task's training data and to its teacher, in place.

    Sensor noise and dropout are the student's own. Its noise is drawn once and reaches the
    teacher too, in the teacher's raw units: the teacher judges the very input that the student
    hears. The teacher itself runs without noise and dropout and is left as it is.

    Args:
        teacher: trained, [batch, steps, channels] -> logits [batch, steps, classes]; or several
            of them, of which the mean of the softened probabilities teaches.
        student: another such network of any cell and size, trained or not.
        settings: of the fitting; as for :func:`models.training.fit`.
        distillation: temperature and weights; None stands for the defaults.
        checkpoint, progress: as for :func:`models.training.fit`. Resume with the same teacher and
            settings. The linear map of the hints is in the checkpoint, not in the student.

    Returns:
        The history of :func:`models.training.fit`, whose ``loss`` is the one stated at
        :class:`~models.training_settings.DistillationSettings`, and with the teacher's score.

    Raises:
        ModelsError: teacher, student and task do not fit together, or one of the networks has
            weights that are no numbers, or the checkpoint cannot be read.
        DivergedError: the loss is no longer finite.
    """
    distillation = distillation or DistillationSettings()
    teachers = [teacher] if isinstance(teacher, keras.Model) else list(teacher)
    check_distillation(teachers, student, task, distillation)
    probabilities = np.mean(
        [tf.nn.softmax(predict(network, task.validation)) for network in teachers], axis=0
    )
    pupil = _Pupil(
        student,
        teachers,
        distillation,
        loss_for(task.train.kind, settings.loss_from),
        settings.seed,
    )
    history = fit(pupil, task, settings, checkpoint, progress, loss=pupil.loss)
    history.teacher_validation_score = task.score.compute(
        np.log(np.maximum(probabilities, 1e-30)), task.validation
    )
    return history


def soft_target_loss(
    logits: tf.Tensor, targets: tf.Tensor, lengths: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Compute temperature^2 * KL(targets || softmax(logits / temperature)), the mean over the
    steps.

    It has the gradient of Hinton's cross entropy with the soft targets, and is 0 where the
    student agrees.

    Args:
        logits: the student's, [batch, steps, classes].
        targets: the teacher's probabilities at this temperature, of the same shape.
        lengths: of the sequences, [batch].

    Returns:
        Scalar, in nats times temperature^2.
    """
    student = tf.nn.log_softmax(logits / temperature)
    divergence = tf.math.xlogy(targets, targets) - targets * student
    return temperature**2 * mean_over_steps(tf.reduce_sum(divergence, -1), lengths)


def hint_loss(mapped: tf.Tensor, hidden: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Compute the mean squared error between the student's mapped hidden states and the teacher's:
    both [batch, steps, teacher's units], lengths [batch] -> scalar."""
    return mean_over_steps(tf.reduce_mean(tf.square(mapped - hidden), -1), lengths)


class _Pupil(keras.Model):
    """The student as ``fit`` takes it; ``label_loss`` is the task's own.

    In training it gives what ``loss`` needs: (logits [batch, steps, classes], the teacher's
    softened probabilities of that shape, the mapped hidden states and the teacher's
    [batch, steps, teachers' units]; None where the weight is 0). Otherwise it is the student.

    Its weights are the student's and the hints' map's. The teachers are held by a function, where
    Keras does not look for weights: they must be neither trained nor written to checkpoints.
    """

    def __init__(
        self,
        student: keras.Model,
        teachers: list[keras.Model],
        settings: DistillationSettings,
        label_loss: Loss,
        seed: int,
    ) -> None:
        super().__init__(name="pupil")
        self.label_loss = label_loss
        self.student = student
        self.settings = settings
        noise = _noise_of(student)
        before, after = (noise.input, noise.output) if noise else (student.input, student.input)
        hidden = recurrences(student)[-1].output if settings.hint_weight else student.output
        # One run of the student for all that is wanted from it, so that its noise is drawn once.
        self.parts = keras.Model(student.input, (student.output, hidden, before, after))
        self.normalization = next(
            (layer for layer in student.layers if noise and isinstance(layer, Normalization)), None
        )
        self.teach = _teaching(teachers, settings)
        self.hint_map = None
        if settings.hint_weight:
            units = sum(recurrences(teacher)[-1].cell.units for teacher in teachers)
            self.hint_map = keras.layers.Dense(
                units, kernel_initializer=keras.initializers.GlorotUniform(seed), name="hint_map"
            )
            self.hint_map.build(hidden.shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> Any:
        if not training:
            return self.student(inputs, training=False)
        logits, hidden, clean, noisy = self.parts(inputs, training=True)
        if self.normalization is not None:
            inputs = inputs + (noisy - clean) / self.normalization.scale
        targets, teacher_hidden = self.teach(inputs)
        mapped = None if self.hint_map is None else self.hint_map(hidden)
        return logits, targets, mapped, teacher_hidden

    def loss(
        self, outputs: tuple[tf.Tensor | None, ...], labels: tf.Tensor, lengths: tf.Tensor
    ) -> tf.Tensor:
        """Compute the loss stated at DistillationSettings from what ``call`` gives in training."""
        logits, targets, mapped, hidden = outputs
        settings = self.settings
        total = (1 - settings.soft_weight) * self.label_loss(logits, labels, lengths)
        if targets is not None:
            soft = soft_target_loss(logits, targets, lengths, settings.temperature)
            total += settings.soft_weight * soft
        if mapped is not None:
            total += settings.hint_weight * hint_loss(mapped, hidden, lengths)
        return total


def _teaching(
    teachers: list[keras.Model], settings: DistillationSettings
) -> Callable[[tf.Tensor], tuple[tf.Tensor | None, tf.Tensor | None]]:
    """From inputs [batch, steps, channels] to the teachers' mean probabilities and their hidden
    states side by side, or None where they have no weight."""
    parts = [
        keras.Model(
            teacher.input,
            (
                teacher.output,
                recurrences(teacher)[-1].output if settings.hint_weight else teacher.output,
            ),
        )
        for teacher in teachers
    ]

    def teach(inputs: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        outputs = [part(inputs, training=False) for part in parts]
        targets = hidden = None
        if settings.soft_weight:
            softened = [tf.nn.softmax(logits / settings.temperature) for logits, _ in outputs]
            targets = tf.stop_gradient(tf.add_n(softened) / len(softened))
        if settings.hint_weight:
            hidden = tf.stop_gradient(tf.concat([states for _, states in outputs], -1))
        return targets, hidden

    return teach


def _noise_of(student: keras.Model) -> SensorNoise | None:
    """The student's noise layer. It must stand right behind the normalization of the inputs, as
    only there it is known what the noise is in raw units."""
    layers = [layer for layer in student.layers if not isinstance(layer, keras.layers.InputLayer)]
    at = [index for index, layer in enumerate(layers) if isinstance(layer, SensorNoise)]
    if not at:
        return None
    if at != [1] or not isinstance(layers[0], Normalization):
        raise ModelsError(
            "the student's sensor noise does not follow its normalization, so the teacher cannot "
            "be shown the same input; build it with models.network.Architecture"
        )
    noise: SensorNoise = layers[1]
    return noise


def check_distillation(
    teachers: list[keras.Model], student: keras.Model, task: Task, settings: DistillationSettings
) -> None:
    """Raise ModelsError where teachers, student and task do not fit together."""
    if not teachers:
        raise ModelsError("there is no teacher; give one network or more")
    named = [("the student", student)]
    for number, teacher in enumerate(teachers, start=1):
        named.append(("the teacher" if len(teachers) == 1 else f"teacher {number}", teacher))
    for name, network in named:
        if not network.built:
            raise ModelsError(f"{name} has no weights yet; give it an InputLayer")
        _check_widths(name, network, task)
        if not all(np.isfinite(weight).all() for weight in network.get_weights()):
            raise ModelsError(f"{name} has NaN or infinite weights; train it again")
        if settings.hint_weight and not recurrences(network):
            raise ModelsError(f"{name} has no recurrence to take hints from; set hint_weight to 0")
    if task.gives_values or task.train.kind is TargetKind.TRANSCRIPT:
        what = "values" if task.gives_values else "transcripts"
        raise ModelsError(
            f"the task {task.name} asks for {what}, and distillation teaches class probabilities; "
            "leave out 'distil'"
        )
    own = {id(variable) for variable in student.weights}
    for name, teacher in named[1:]:
        if any(id(variable) in own for variable in teacher.weights):
            raise ModelsError(
                f"{name} shares weights with the student and would change with it; "
                "build the student anew"
            )
    _noise_of(student)


def _check_widths(name: str, network: keras.Model, task: Task) -> None:
    channels, classes = network.input_shape[-1], network.output_shape[-1]
    if channels != len(task.channels):
        raise ModelsError(
            f"{name} takes {channels} channels, but the task {task.name} has "
            f"{len(task.channels)}; teacher and student must be built for this task"
        )
    if classes != len(task.labels):
        raise ModelsError(
            f"{name} tells {classes} classes apart, but the task {task.name} has "
            f"{len(task.labels)}; teacher and student must be built for this task"
        )
