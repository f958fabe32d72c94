"""The attention teacher: causal, with positions, trained by fit, taught from by distil."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from models.attention import AttentionArchitecture, SinusoidalPositions
from models.compress.distillation import _Pupil, distil
from models.errors import ModelsError
from models.losses import sequence_loss
from models.network import Architecture, count_parameters
from models.prediction import evaluate, predict
from models.training import fit
from models.training_settings import DistillationSettings, TrainingSettings

SETTINGS = TrainingSettings(epochs=6, batch_size=32, learning_rate=5e-3)
TEACHER_ALONE = DistillationSettings(soft_weight=1)


def new_attention(task, seed=1, **options):
    keras.utils.set_random_seed(seed)
    network = AttentionArchitecture(
        16, len(task.channels), len(task.labels), heads=2, **options
    ).build()
    network.get_layer("normalization").adapt(*task.normalization)
    return network


def new_student(task, seed=1, **options):
    keras.utils.set_random_seed(seed)
    network = Architecture("gru", (6,), len(task.channels), len(task.labels), **options).build()
    network.get_layer("normalization").adapt(*task.normalization)
    return network


@pytest.fixture(scope="module")
def attention(vowels):
    """(network, its history), fitted for a few epochs, with noise and dropout."""
    network = new_attention(vowels, input_noise=0.2, input_offset=0.2)
    return network, fit(network, vowels, SETTINGS)


def test_a_step_depends_on_the_frames_up_to_it_alone(vowels, attention):
    """What comes later, be it padding, changes nothing; what was there before does."""
    frames = vowels.validation.padded[:8, :7]
    whole = attention[0](frames).numpy()
    changed = frames.copy()
    changed[:, 4:] = np.random.default_rng(1).normal(size=changed[:, 4:].shape)
    np.testing.assert_allclose(attention[0](changed).numpy()[:, :4], whole[:, :4], atol=1e-5)
    np.testing.assert_allclose(attention[0](frames[:, :4]).numpy(), whole[:, :4], atol=1e-5)
    other_start = frames.copy()
    other_start[:, 0] += 1
    difference = np.abs(attention[0](other_start).numpy() - whole).max((0, 2))
    assert (difference > 1e-3).all(), "a step does not hear of the first frame"


def test_order_matters(vowels, attention):
    """Attention alone would not know in which order the frames before the last one came."""
    frames = vowels.validation.padded[:8, :7]
    swapped = frames[:, [1, 0, *range(2, 7)]]
    difference = np.abs(attention[0](swapped).numpy() - attention[0](frames).numpy())
    assert difference[:, -1].max() > 1e-3


def test_positions_against_their_definition():
    positions = SinusoidalPositions()(np.zeros((1, 50, 8), np.float32)).numpy()[0]
    for step in (0, 1, 49):
        angles = step / 10_000 ** (np.arange(4) / 4)
        expected = np.concatenate([np.sin(angles), np.cos(angles)])
        np.testing.assert_allclose(positions[step], expected, atol=1e-5)


def test_it_learns(vowels, attention):
    network, history = attention
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert evaluate(network, vowels.validation)[1] > 0.8


def test_noise_and_dropout_act_in_training_alone(vowels):
    data = vowels.validation
    for options in ({"input_noise": 0.3, "dropout": 0}, {"dropout": 0.3}):
        network = new_attention(vowels, **options)
        quiet = predict(network, data)
        np.testing.assert_allclose(predict(network, data), quiet, atol=1e-6)
        assert np.abs(network(data.padded, training=True).numpy() - quiet).max() > 1e-2


def test_count_of_parameters(vowels):
    block = 4 * (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 2 * 2 * 16
    expected = (12 * 16 + 16) + 2 * block + 2 * 16 + (16 * 9 + 9)
    assert count_parameters(new_attention(vowels)) == expected


def test_copy_from_its_configuration_computes_the_same(vowels, attention):
    copy = keras.models.clone_model(attention[0])
    copy.set_weights(attention[0].get_weights())
    expected = predict(attention[0], vowels.validation)
    np.testing.assert_allclose(predict(copy, vowels.validation), expected, atol=1e-5)


def test_recurrent_student_comes_to_agree_with_it(vowels, attention):
    """Without the labels; the teacher is left as it is."""
    student = new_student(vowels, input_noise=0.2, input_offset=0.2)
    before = attention[0].get_weights()
    settings = replace(SETTINGS, epochs=14, learning_rate=2e-2)
    alone = DistillationSettings(soft_weight=1)
    history = distil(attention[0], student, vowels, settings, alone)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert evaluate(student, vowels.validation)[1] > 0.7
    for actual, expected in zip(attention[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_it_hears_the_students_noise_and_none_of_its_own(vowels, attention):
    """What it says of two equal sequences differs as their noise does, and only so."""
    data = vowels.validation
    student = new_student(vowels, input_noise=0.7, input_offset=0.5)
    x = np.repeat(data.padded[:1], 2, axis=0)
    pupil = _Pupil(student, [attention[0]], TEACHER_ALONE, sequence_loss, seed=1)
    keras.utils.set_random_seed(3)
    noisy = pupil(x, training=True)[1].numpy()
    quiet = tf.nn.softmax(attention[0](x) / 2).numpy()
    assert np.abs(noisy[0] - noisy[1]).max() > 0.05
    assert np.abs(noisy - quiet).max() > 0.05
    silent = _Pupil(new_student(vowels), [attention[0]], TEACHER_ALONE, sequence_loss, 1)
    np.testing.assert_allclose(silent(x, training=True)[1], quiet, atol=1e-5)


def test_hints_from_it_are_refused(vowels, attention):
    with pytest.raises(ModelsError, match="the teacher has no recurrence to take hints") as caught:
        distil(
            attention[0],
            new_student(vowels),
            vowels,
            SETTINGS,
            DistillationSettings(hint_weight=0.5),
        )
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 15, "heads": 3}, "the width is 15; it must be even"),
        ({"width": 16, "heads": 3}, "multiple of the 3 heads"),
        ({"heads": 0}, "heads is 0"),
        ({"blocks": 0}, "blocks is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": float("nan")}, "dropout is nan"),
    ],
)
def test_sizes_out_of_range_are_refused(values, message):
    with pytest.raises(ModelsError, match=message) as caught:
        AttentionArchitecture(**{"width": 16, "inputs": 3, "outputs": 2, **values})
    assert "\n" not in caught.value.message
