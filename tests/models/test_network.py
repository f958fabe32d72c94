"""Whole networks: their files, their size, and the noise that only training sees."""

import json

import numpy as np
import pytest
import tf_keras as keras

from models.errors import ModelsError
from models.layers import SensorNoise
from models.network import (
    ARCHITECTURE_FILE,
    WEIGHTS_FILE,
    Architecture,
    count_parameters,
    load_network,
    recurrences,
    save_network,
)

INPUTS, OUTPUTS = 3, 4

ARCHITECTURES = [
    Architecture("simple-rnn", (5,), INPUTS, OUTPUTS),
    Architecture("lstm", (5, 3), INPUTS, OUTPUTS),
    Architecture("gru", (5,), INPUTS, OUTPUTS, {"reset_after": False}),
    Architecture("gru", (4, 5), INPUTS, OUTPUTS, {"reset_after": True}, dropout=0.5),
    Architecture("oru", (5,), INPUTS, OUTPUTS, {"reflections": 2}),
    Architecture("oru-state", (5,), INPUTS, OUTPUTS, input_noise=0.3, input_offset=0.2),
]


def randomized(architecture, seed=0):
    """Make a network whose weights, with its normalization, are all random."""
    network = architecture.build()
    generator = np.random.default_rng(seed)
    network.set_weights([generator.normal(0, 0.5, w.shape) for w in network.get_weights()])
    return network


def frames(batch=2, steps=6):
    return np.random.default_rng(1).normal(size=(batch, steps, INPUTS)).astype(np.float32)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{a.cell}-{len(a.units)}")
def test_loaded_network_is_the_saved_one(architecture, tmp_path):
    network = randomized(architecture)
    save_network(tmp_path / "deep" / "folder", network, architecture)
    loaded, loaded_architecture = load_network(tmp_path / "deep" / "folder")
    assert loaded_architecture == architecture
    for actual, expected in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(loaded(frames()).numpy(), network(frames()).numpy())


def test_saving_again_replaces_the_network(tmp_path):
    save_network(tmp_path, randomized(ARCHITECTURES[1]), ARCHITECTURES[1])
    network = randomized(ARCHITECTURES[0], seed=5)
    save_network(tmp_path, network, ARCHITECTURES[0])
    loaded, architecture = load_network(tmp_path)
    assert architecture == ARCHITECTURES[0]
    np.testing.assert_array_equal(loaded(frames()).numpy(), network(frames()).numpy())


def assert_one_line_error(folder):
    with pytest.raises(ModelsError) as caught:
        load_network(folder)
    assert str(folder) in caught.value.message
    assert "train it again" in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_folder_is_a_models_error(tmp_path):
    assert_one_line_error(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (ARCHITECTURE_FILE, None),
        (ARCHITECTURE_FILE, b"{"),
        (ARCHITECTURE_FILE, b"[]"),
        (ARCHITECTURE_FILE, b"{}"),
        (WEIGHTS_FILE, None),
        (WEIGHTS_FILE, b""),
        (WEIGHTS_FILE, b"no weights"),
    ],
)
def test_missing_or_damaged_file_is_a_models_error(tmp_path, file, content):
    save_network(tmp_path, randomized(ARCHITECTURES[0]), ARCHITECTURES[0])
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    assert_one_line_error(tmp_path)


def test_weights_of_another_size_are_a_models_error(tmp_path):
    save_network(tmp_path, randomized(ARCHITECTURES[0]), ARCHITECTURES[0])
    written = json.loads((tmp_path / ARCHITECTURE_FILE).read_text())
    (tmp_path / ARCHITECTURE_FILE).write_text(json.dumps({**written, "units": [7]}))
    assert_one_line_error(tmp_path)


def test_truncated_weights_are_a_models_error(tmp_path):
    save_network(tmp_path, randomized(ARCHITECTURES[0]), ARCHITECTURES[0])
    content = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(content[: len(content) // 2])
    assert_one_line_error(tmp_path)


def test_sensor_noise_acts_in_training_only():
    keras.utils.set_random_seed(0)
    noise = SensorNoise(0.3, 0.2)
    x = frames()
    np.testing.assert_array_equal(np.asarray(noise(x)), x)
    np.testing.assert_array_equal(np.asarray(noise(x, training=False)), x)
    assert np.abs(noise(x, training=True).numpy() - x).min() > 0


@pytest.mark.parametrize("options", [{"input_noise": 0.5}, {"input_offset": 0.5}, {"dropout": 0.5}])
def test_noise_of_a_network_acts_in_training_only(options, vowels):
    keras.utils.set_random_seed(0)
    noisy_architecture = Architecture("gru", (5,), INPUTS, OUTPUTS, **options)
    plain = randomized(Architecture("gru", (5,), INPUTS, OUTPUTS))
    noisy = noisy_architecture.build()
    noisy.set_weights(plain.get_weights())
    expected = plain(frames()).numpy()
    np.testing.assert_array_equal(noisy(frames()).numpy(), expected)
    np.testing.assert_array_equal(
        noisy.predict(frames(), verbose=0), plain.predict(frames(), verbose=0)
    )
    assert np.abs(noisy(frames(), training=True).numpy() - expected).max() > 1e-3


def test_sensor_offset_stays_for_a_whole_sequence():
    keras.utils.set_random_seed(0)
    x = np.zeros((400, 10, INPUTS), np.float32)
    added = SensorNoise(0.0, 0.2)(x, training=True).numpy()
    np.testing.assert_array_equal(added, np.repeat(added[:, :1], 10, axis=1))
    assert len(np.unique(added[:, 0])) == 400 * INPUTS
    assert added.std() == pytest.approx(0.2, rel=0.1)


def test_sensor_noise_differs_at_every_step():
    keras.utils.set_random_seed(0)
    x = np.zeros((100, 40, INPUTS), np.float32)
    added = SensorNoise(0.3, 0.0)(x, training=True).numpy()
    assert added.std() == pytest.approx(0.3, rel=0.05)
    assert abs(np.corrcoef(added[:, 0].ravel(), added[:, 1].ravel())[0, 1]) < 0.2


# I inputs, H units, O outputs; the normalization is not learned and not counted.
I, H, O = INPUTS, 5, OUTPUTS  # noqa: E741
HEAD = H * O + O


@pytest.mark.parametrize(
    ("cell", "options", "expected"),
    [
        ("simple-rnn", {}, I * H + H * H + H),
        ("lstm", {}, 4 * (I * H + H * H + H)),
        ("gru", {"reset_after": True}, 3 * (I * H + H * H + 2 * H)),
        ("gru", {"reset_after": False}, 3 * (I * H + H * H + H)),
        ("oru", {}, 2 * (I * H + H * H) + H * H),
        ("oru", {"reflections": 2}, 2 * (I * H + H * H) + 2 * H),
        ("oru-state", {}, 2 * (I * H + H * H) + H * H + H),
    ],
)
def test_count_parameters(cell, options, expected):
    network = Architecture(cell, (H,), I, O, options, input_noise=0.1, dropout=0.1).build()
    assert count_parameters(network) == expected + HEAD


def test_count_parameters_of_two_recurrences():
    network = Architecture("gru", (7, H), I, O).build()
    lower = 3 * (I * 7 + 7 * 7 + 2 * 7)
    upper = 3 * (7 * H + H * H + 2 * H)
    assert count_parameters(network) == lower + upper + HEAD


def test_network_is_normalization_recurrences_and_head():
    """The layers in order, computed one after the other by hand."""
    network = randomized(ARCHITECTURES[1])
    scale, shift = network.get_layer("normalization").get_weights()
    value = frames() * scale + shift
    for layer in recurrences(network):
        value = layer(value)
    kernel, bias = network.get_layer("head").get_weights()
    expected = value.numpy() @ kernel + bias
    np.testing.assert_allclose(network(frames()).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{a.cell}-{len(a.units)}")
def test_network_is_causal(architecture):
    """Later frames do not change earlier outputs."""
    network = randomized(architecture)
    x = frames()
    changed = x.copy()
    changed[:, 4:] += 1
    before, after = network(x).numpy(), network(changed).numpy()
    np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert np.abs(after[:, 4:] - before[:, 4:]).min(axis=(1, 2)).max() > 0
