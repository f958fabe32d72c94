"""Distillation: its whole loss, the same noise for both, hints, resuming, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import models.metrics
import models.training
from models.compress.distillation import _Pupil, distil, hint_loss
from models.errors import DivergedError, ModelsError
from models.layers import Normalization, Recurrence, SensorNoise
from models.losses import sequence_loss
from models.network import Architecture, recurrences
from models.prediction import predict
from models.tasks.sequence_set import SequenceSet
from models.training import fit
from models.training_settings import DistillationSettings, TrainingSettings
from tests.models.softened_shares import shares
from tests.models.weight_comparison import assert_same_weights, largest_difference

SETTINGS = TrainingSettings(epochs=3, batch_size=16, learning_rate=2e-2)
LABELS_ALONE = DistillationSettings(soft_weight=0)
TEACHER_ALONE = DistillationSettings(temperature=3, soft_weight=1)
HINTS = DistillationSettings(temperature=2, soft_weight=0.5, hint_weight=0.7)


@pytest.fixture(scope="module")
def small_task(vowels):
    """A sixth of the vowels, all nine speakers."""
    return replace(
        vowels,
        train=vowels.train.select(np.arange(0, 216, 5)),
        validation=vowels.validation.select(np.arange(0, 54, 3)),
    )


@pytest.fixture(scope="module")
def teacher(trained):
    return trained("lstm")[0]


def new_student(task, cell="gru", seed=1, units=(4,), **options):
    keras.utils.set_random_seed(seed)
    network = Architecture(cell, units, len(task.channels), len(task.labels), **options).build()
    network.get_layer("normalization").adapt(*task.normalization)
    return network


def copy_of(network):
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


# The whole loss


@pytest.mark.parametrize("members", [1, 2])
def test_whole_loss_against_numpy(small_task, trained, members):
    """Labels, the mean of the softened shares of one teacher or two, and hints."""
    teachers = [trained("lstm")[0], trained("gru")[0]][:members]
    student = new_student(small_task)
    pupil = _Pupil(student, teachers, HINTS, sequence_loss, seed=1)
    data = small_task.validation
    x, lengths = data.padded, data.lengths
    actual = float(pupil.loss(pupil(x, training=True), data.labels, lengths))

    targets = np.mean([shares(predict(t, data), 2) for t in teachers], axis=0)
    softened = shares(predict(student, data), 2)
    divergence = (targets * np.log(targets / softened)).sum(-1)
    picked = np.log(shares(predict(student, data), 1))
    entropy = -picked[np.arange(len(data)), :, data.labels]

    def states(network):
        return keras.Model(network.input, recurrences(network)[-1].output).predict(x, verbose=0)

    kernel, bias = pupil.hint_map.get_weights()
    wanted = np.concatenate([states(t) for t in teachers], -1)
    distance = ((states(student) @ kernel + bias - wanted) ** 2).mean(-1)
    per_step = 0.5 * entropy + 0.5 * 4 * divergence + 0.7 * distance
    expected = np.mean([row[:n].mean() for row, n in zip(per_step, lengths, strict=True)])
    assert actual == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("members", [1, 3])
def test_a_copy_of_the_teacher_has_nothing_to_learn(small_task, teacher, members):
    """Fitting would not keep it there: Adam makes steps of rounding errors."""
    data = small_task.train
    losses = []
    for student in (copy_of(teacher), new_student(small_task)):
        pupil = _Pupil(student, [teacher] * members, TEACHER_ALONE, sequence_loss, seed=1)
        losses.append(
            float(pupil.loss(pupil(data.padded, training=True), data.labels, data.lengths))
        )
    assert losses[0] == pytest.approx(0, abs=1e-5)
    assert losses[1] > 0.1


# Against plain fitting


def test_without_the_teacher_it_is_plain_fitting(small_task, teacher):
    alone, distilled, taught = (new_student(small_task) for _ in range(3))
    settings = replace(SETTINGS, epochs=2)
    expected = fit(alone, small_task, settings)
    history = distil(teacher, distilled, small_task, settings, LABELS_ALONE)
    for name in ("loss", "validation_loss", "validation_score", "gradient_norm"):
        np.testing.assert_allclose(
            getattr(history, name), getattr(expected, name), atol=1e-6, rtol=0
        )
    assert history.best_epoch == expected.best_epoch
    assert_same_weights(distilled, alone)
    distil(teacher, taught, small_task, settings)
    assert largest_difference(taught, alone) > 1e-3


def test_fit_minimizes_the_loss_it_is_given(small_task):
    """Twice its usual one; Adam takes nearly the same steps, whatever the factor."""
    alone, doubled = (new_student(small_task) for _ in range(2))
    settings = replace(SETTINGS, epochs=1)
    expected = fit(alone, small_task, settings).loss
    twice = fit(doubled, small_task, settings, loss=lambda *a: 2 * sequence_loss(*a)).loss
    assert twice[0] == pytest.approx(2 * expected[0], rel=0.05)


def test_student_comes_to_agree_with_its_teacher(small_task, teacher):
    """With labels that are all wrong, which it is not to hear of."""
    wrong = replace(small_task.train, labels=(small_task.train.labels + 1) % len(small_task.labels))
    student = new_student(small_task, units=(12,))
    history = distil(
        teacher,
        student,
        replace(small_task, train=wrong),
        replace(SETTINGS, epochs=12, keep="last"),
        TEACHER_ALONE,
    )
    assert history.loss[-1] < 0.5 * history.loss[0]
    said, meant = (
        models.metrics.decisions(predict(network, small_task.train), small_task.train.lengths)
        for network in (student, teacher)
    )
    assert np.mean(said == meant) > 0.6


# Noise


def test_teacher_hears_the_students_noise(small_task, teacher):
    """A copy of the teacher with noise in front agrees with it at every noisy step."""
    architecture = {"input_noise": 0.7, "input_offset": 0.5}
    student = new_student(small_task, "lstm", units=(16,), **architecture)
    student.set_weights(teacher.get_weights())
    pupil = _Pupil(student, [teacher], TEACHER_ALONE, sequence_loss, seed=1)
    data = small_task.train
    logits, targets, _, _ = pupil(data.padded, training=True)
    np.testing.assert_allclose(shares(logits, 3), targets, atol=1e-4)
    quiet = shares(predict(teacher, data), 3)
    assert np.abs(quiet - targets).max() > 0.1, "there was no noise"
    assert float(pupil.loss((logits, targets, None, None), data.labels, data.lengths)) < 1e-4


def test_noise_reaches_a_teacher_with_another_normalization(small_task, teacher):
    """It is added in raw units, to the input the teacher normalizes by itself."""
    student = new_student(small_task, "lstm", units=(16,), input_noise=0.7, input_offset=0.5)
    student.set_weights(teacher.get_weights())
    # The same function of the raw input, by other constants and a kernel that makes up for them.
    other = copy_of(teacher)
    normalization, cell = other.layers[0], recurrences(other)[0].cell
    normalization.scale.assign(normalization.scale * 4)
    normalization.shift.assign(normalization.shift * 4)
    cell.kernel.assign(cell.kernel / 4)
    logits, targets, _, _ = _Pupil(student, [other], TEACHER_ALONE, sequence_loss, 1)(
        small_task.train.padded, training=True
    )
    np.testing.assert_allclose(shares(logits, 3), targets, atol=1e-4)


def test_teachers_own_noise_and_dropout_are_off(small_task):
    noisy = new_student(small_task, "lstm", input_noise=0.7, input_offset=0.5, dropout=0.5)
    pupil = _Pupil(new_student(small_task, seed=2), [noisy], TEACHER_ALONE, sequence_loss, seed=1)
    data = small_task.validation
    targets = pupil(data.padded, training=True)[1]
    np.testing.assert_allclose(targets, shares(predict(noisy, data), 3), atol=1e-5)


def test_noise_elsewhere_is_refused(small_task, teacher):
    student = keras.Sequential(
        [
            keras.layers.InputLayer((None, 12)),
            Normalization(),
            Recurrence("gru", 4),
            SensorNoise(0.1, 0.1),
            keras.layers.Dense(9),
        ]
    )
    with pytest.raises(ModelsError, match="does not follow its normalization"):
        distil(teacher, student, small_task, SETTINGS)


# Hints


def test_hints_reach_the_students_recurrence(small_task, teacher):
    """By a map of their own; the head hears nothing of them."""
    student = new_student(small_task, units=(5, 4))
    settings = DistillationSettings(soft_weight=0, hint_weight=1)
    pupil = _Pupil(student, [teacher], settings, sequence_loss, seed=1)
    data = small_task.validation
    with tf.GradientTape() as tape:
        _, _, mapped, hidden = pupil(data.padded, training=True)
        loss = hint_loss(mapped, hidden, data.lengths)
    assert mapped.shape == hidden.shape == (*data.padded.shape[:2], 16)
    learned = [v for layer in recurrences(student) for v in layer.trainable_variables]
    learned += pupil.hint_map.trainable_variables
    head = student.get_layer("head").trainable_variables
    gradients = tape.gradient(loss, learned + head)
    for variable, gradient in zip(learned, gradients, strict=False):
        assert float(tf.norm(gradient)) > 1e-6, variable.name
    assert gradients[len(learned) :] == [None] * len(head)


def test_hints_are_learned_and_their_map_is_discarded(small_task, teacher):
    plain, hinted = (new_student(small_task) for _ in range(2))
    shapes = [w.shape for w in plain.weights]
    distil(teacher, plain, small_task, SETTINGS, replace(HINTS, hint_weight=0))
    history = distil(teacher, hinted, small_task, SETTINGS, HINTS)
    assert history.loss[-1] < history.loss[0]
    assert [w.shape for w in hinted.weights] == shapes
    assert largest_difference(hinted, plain) > 1e-3


# What is left behind


def test_teacher_is_left_as_it_is_and_is_not_in_the_student(small_task, trained):
    teachers = [trained("lstm")[0], trained("gru")[0]]
    before = [network.get_weights() for network in teachers]
    student = new_student(small_task)
    pupil = _Pupil(student, teachers, HINTS, sequence_loss, seed=1)
    assert len(pupil.trainable_weights) == len(student.trainable_weights) + 2
    assert len(pupil.weights) == len(student.weights) + 2
    distil(teachers, student, small_task, SETTINGS, HINTS)
    for network, weights in zip(teachers, before, strict=True):
        for actual, expected in zip(network.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_teachers_score_is_reported(small_task, teacher):
    history = distil(teacher, new_student(small_task), small_task, replace(SETTINGS, epochs=1))
    data = small_task.validation
    expected = models.metrics.accuracy(predict(teacher, data), data)
    assert history.teacher_validation_score == pytest.approx(expected)


# Resuming


@pytest.mark.parametrize("settings", [pytest.param(TEACHER_ALONE, marks=pytest.mark.slow), HINTS])
def test_resumed_run_computes_what_an_uninterrupted_one_does(
    small_task, teacher, tmp_path, monkeypatch, settings
):
    training = replace(SETTINGS, epochs=4)
    whole = new_student(small_task)
    expected = distil(teacher, whole, small_task, training, settings)

    monkeypatch.setattr(models.training, "CHECKPOINT_INTERVAL_S", 0)
    file = tmp_path / "c.npz"

    def interrupt(done, epochs, losses):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(teacher, new_student(small_task), small_task, training, settings, file, interrupt)
    resumed = new_student(small_task, seed=99)
    epochs = []
    history = distil(
        teacher,
        resumed,
        small_task,
        training,
        settings,
        file,
        progress=lambda done, *_: epochs.append(done),
    )
    assert epochs == [3, 4], "it did not resume from the last epoch written"
    for name in ("loss", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(
            getattr(history, name), getattr(expected, name), atol=1e-5, rtol=0
        )
    assert_same_weights(resumed, whole, atol=1e-5)


def test_checkpoint_without_hints_is_refused_with_them(small_task, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(models.training, "CHECKPOINT_INTERVAL_S", 0)
    file = tmp_path / "c.npz"
    one = replace(SETTINGS, epochs=1)
    distil(teacher, new_student(small_task), small_task, one, TEACHER_ALONE, file)
    with pytest.raises(ModelsError, match=r"c\.npz: the checkpoint cannot be read") as caught:
        distil(teacher, new_student(small_task), small_task, one, HINTS, file)
    assert "\n" not in caught.value.message


# What is refused


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"soft_weight": -0.1},
        {"soft_weight": 1.1},
        {"soft_weight": float("nan")},
        {"hint_weight": -1},
        {"hint_weight": float("nan")},
        {"hint_weight": float("inf")},
    ],
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ModelsError, match=next(iter(values))) as caught:
        DistillationSettings(**values)
    assert "\n" not in caught.value.message


def with_nan(network):
    copy = copy_of(network)
    copy.get_layer("head").bias.assign([np.nan] * 9)
    return copy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t, s: ([], s), "there is no teacher"),
        (lambda t, s: (Architecture("gru", (4,), 12, 8).build(), s), "the teacher tells 8 classes"),
        (lambda t, s: (t, Architecture("gru", (4,), 12, 8).build()), "the student tells 8 classes"),
        (lambda t, s: ([t, Architecture("gru", (4,), 3, 9).build()], s), "teacher 2 takes 3 ch"),
        (lambda t, s: (t, Architecture("gru", (4,), 3, 9).build()), "the student takes 3 channels"),
        (lambda t, s: (with_nan(t), s), "the teacher has NaN"),
        (lambda t, s: ([t, with_nan(t)], s), "teacher 2 has NaN"),
        (lambda t, s: (t, with_nan(s)), "the student has NaN"),
        (lambda t, s: (s, s), "shares weights with the student"),
        (
            lambda t, s: (keras.Sequential([keras.Input((None, 12)), *s.layers]), s),
            "shares weights",
        ),
        (lambda t, s: (keras.Sequential([keras.layers.Dense(9)]), s), "the teacher has no weights"),
    ],
)
def test_networks_that_do_not_fit_are_refused(small_task, teacher, make, message):
    student = new_student(small_task)
    teachers, student = make(teacher, student)
    before = student.get_weights()
    with pytest.raises(ModelsError, match=message) as caught:
        distil(teachers, student, small_task, SETTINGS)
    assert "\n" not in caught.value.message
    for actual, expected in zip(student.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_hints_of_a_network_without_recurrence_are_refused(small_task, teacher):
    student = keras.Sequential([keras.layers.InputLayer((None, 12)), keras.layers.Dense(9)])
    with pytest.raises(ModelsError, match="the student has no recurrence"):
        distil(teacher, student, small_task, SETTINGS, HINTS)


def test_nan_in_training_data_is_a_diverged_error(small_task, teacher):
    sequences = [s.copy() for s in small_task.train.sequences]
    sequences[5][2, 3] = np.nan
    train = SequenceSet(sequences, small_task.train.labels, small_task.train.groups)
    with pytest.raises(DivergedError, match="epoch 1;"):
        distil(teacher, new_student(small_task), replace(small_task, train=train), SETTINGS)
