"""Augmentation: what it does to sequences, what it leaves alone, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from models.augmentation import LARGEST_STRETCH, Augmentation
from models.errors import ModelsError
from models.training import fit
from models.training_settings import TrainingSettings
from tests.models.random_networks import random_network, random_task
from tests.models.weight_comparison import assert_same_weights, largest_difference

VECTORS = ((0, 1, 2), (3, 4, 5))


def generator(seed=0):
    return np.random.default_rng(seed)


def ramps(n=200, longest=40):
    """Sequences whose value is the share of the sequence that is over, in 6 channels."""
    lengths = generator().integers(10, 25, n)
    x = np.full((n, longest, 6), 99, np.float32)
    for row, length in zip(x, lengths, strict=True):
        row[:length] = np.linspace(0, 1, length)[:, np.newaxis]
    return x, lengths


def test_nothing_asked_for_changes_nothing():
    x, lengths = ramps()
    same, same_lengths = Augmentation().apply(x, lengths, generator())
    assert not Augmentation()
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(same_lengths, lengths)


def test_stretched_sequences_run_from_their_first_to_their_last_frame():
    x, lengths = ramps()
    stretched, new = Augmentation(stretch=0.2).apply(x, lengths, generator())
    for row, length in zip(stretched, new, strict=True):
        wanted = np.linspace(0, 1, length)[:, np.newaxis]
        np.testing.assert_allclose(row[:length], np.repeat(wanted, 6, 1), atol=1e-6)
    ratio = np.log(new / lengths)
    assert abs(ratio.mean()) < 0.05
    assert ratio.std() == pytest.approx(0.2, rel=0.15)


def test_what_grows_too_long_is_cut_off():
    """At the rate at which it was stretched, and by no more than the largest factor."""
    x, lengths = ramps()
    longest = int(lengths.max())
    stretched, new = Augmentation(stretch=2.0).apply(x[:, :longest], lengths, generator())
    assert new.max() == longest
    assert (new >= np.floor(lengths / LARGEST_STRETCH)).all()
    cut = np.flatnonzero(new == longest)
    last = stretched[cut, -1, 0]
    expected = (longest - 1) / (np.rint(lengths[cut] * LARGEST_STRETCH) - 1)
    assert (last >= np.minimum(expected, 1) - 1e-5).all()
    assert stretched.max() <= 1


def test_rotation_turns_all_vectors_of_a_sequence_alike():
    x = generator(1).normal(size=(300, 20, 7)).astype(np.float32)
    turned, _ = Augmentation(rotation=20, vectors=VECTORS).apply(x, np.full(300, 20), generator(2))
    np.testing.assert_array_equal(turned[..., 6], x[..., 6])
    angles = []
    for before, after in zip(x, turned, strict=True):
        first, second = (
            np.linalg.lstsq(before[:, list(v)], after[:, list(v)], rcond=None)[0].T for v in VECTORS
        )
        np.testing.assert_allclose(first, second, atol=1e-4)
        np.testing.assert_allclose(first @ first.T, np.eye(3), atol=1e-4)
        assert np.linalg.det(first) == pytest.approx(1, abs=1e-4)
        angles.append(np.degrees(np.arccos(np.clip((np.trace(first) - 1) / 2, -1, 1))))
    assert np.sqrt(np.mean(np.square(angles))) == pytest.approx(20, rel=0.1)


def test_gain_is_one_factor_for_a_channel_of_a_sequence():
    x = 1 + generator(1).random((400, 5, 3)).astype(np.float32)
    louder, _ = Augmentation(gain=0.3).apply(x, np.full(400, 5), generator())
    factors = louder / x
    np.testing.assert_allclose(factors, np.repeat(factors[:, :1], 5, 1), rtol=1e-5)
    assert np.log(factors[:, 0]).std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stretch": -0.1}, "stretch must be 0 or more, not -0.1"),
        ({"gain": float("nan")}, "gain must be 0 or more, not nan"),
        ({"rotation": 10}, "needs 'vectors'"),
        ({"rotation": 10, "vectors": ((0, 0, 1),)}, "three different channels"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ModelsError, match=words):
        Augmentation(**settings)


def test_vectors_beyond_the_channels_are_refused():
    with pytest.raises(ModelsError, match="beyond the 2 of the task"):
        Augmentation(rotation=5, vectors=((0, 1, 2),)).apply(
            np.zeros((1, 2, 2)), np.array([2]), generator()
        )


def test_fitting_sees_varied_data_and_draws_it_by_seed_and_epoch():
    task = random_task()
    varied = TrainingSettings(
        epochs=2, learning_rate=5e-3, augmentation=Augmentation(stretch=0.2, gain=0.1), keep="last"
    )
    networks, losses = [], []
    for settings in (varied, varied, replace(varied, augmentation=None)):
        network, _ = random_network("simple-rnn", units=(4,))
        keras.utils.set_random_seed(1)  # of the dropout
        losses.append(fit(network, task, settings).loss)
        networks.append(network)
    assert losses[0] == losses[1] != losses[2]
    assert_same_weights(networks[0], networks[1])
    assert largest_difference(networks[0], networks[2]) > 1e-4


def test_fitting_refuses_to_stretch_wanted_values():
    task = random_task()
    values = [np.zeros((len(s), 3), np.float32) for s in task.train.sequences]
    task = replace(task, train=replace(task.train, values=values))
    network, _ = random_network("simple-rnn", units=(4,))
    with pytest.raises(ModelsError, match="set it to 0"):
        fit(network, task, TrainingSettings(augmentation=Augmentation(stretch=0.1)))


def test_fitting_refuses_to_vary_token_ids():
    network, _ = random_network("simple-rnn", units=(4,))
    with pytest.raises(ModelsError, match="token ids"):
        fit(
            network,
            replace(random_task(), vocabulary=5),
            TrainingSettings(augmentation=Augmentation(gain=0.1)),
        )
