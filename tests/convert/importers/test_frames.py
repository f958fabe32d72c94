"""Frames with several axes, convolutions over time and frequency, and strides in time."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from calibration.data import random_sequences
from convert.errors import UnsupportedLayerError
from convert.import_conversion.conversion import prepare, step_inputs
from convert.import_conversion.description import Facts
from convert.import_conversion.original import original_outputs
from convert.importers import import_model
from convert.importers.keras2 import imported
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from convert.targets.check import check_file
from convert.verify import verify_on_runtimes
from device_runner.stream import Stream
from tests.convert.importers import frame_networks
from tests.convert.importers.frame_networks import NETWORKS

L = tf_keras.layers
QUICK = {frame_networks.nested, frame_networks.dilated, frame_networks.pooled}
EACH = [
    network if network in QUICK else pytest.param(network, marks=pytest.mark.slow)
    for network in NETWORKS
]


def seeded(keras, build):
    """Build with seeded weights, biases and means other than zeros."""
    keras.utils.set_random_seed(5)
    model, generator = build(keras), np.random.default_rng(5)
    model.set_weights(
        [
            weight + np.abs(generator.normal(0, 0.1, weight.shape)) if weight.ndim == 1 else weight
            for weight in model.get_weights()
        ]
    )
    return model


def check(model):
    """Stepped it is the original, at every step at which that answers."""
    module = StepModule(model.graph)
    (sequence,) = random_sequences(step_inputs(module), 3, 1, 21)
    wanted = original_outputs(model, module, sequence)
    for name, values in module.run(sequence).items():
        spread = np.ptp(wanted[name][module.graph.timing(name).delay :])
        assert spread > 1e-3
        np.testing.assert_allclose(values, wanted[name], atol=1e-4 * spread)
    return module


@pytest.mark.parametrize("build", EACH)
def test_a_network_of_tf_keras_is_stepped(build):
    check(imported(seeded(tf_keras, build), "tf_keras"))


@pytest.mark.slow
@pytest.mark.parametrize("build", NETWORKS)
def test_a_network_of_keras_3_is_stepped(build, tmp_path):
    import keras

    seeded(keras, build).save(tmp_path / "model.keras")
    check(import_model(tmp_path / "model.keras"))


def exported(build, scheme, path):
    """Convert a network on random data."""
    conversion = prepare(imported(seeded(tf_keras, build), "tf_keras"), Facts(), None)
    return conversion.export(scheme, path)


def test_a_slow_answer_is_held_on_every_runtime(tmp_path):
    """Keras' t-th answer comes at step 4 + 4 t... and stays until the next one."""
    build = frame_networks.pooled
    network = imported(seeded(tf_keras, build), "tf_keras")
    conversion = prepare(network, Facts(), None)
    assert any("every 4 steps" in text for text in conversion.changed)
    timing = conversion.module.graph.timing("y")
    (sequence,) = random_sequences(step_inputs(conversion.module), 4, 1, 30)
    wanted = original_outputs(network, conversion.module, sequence)["y"][timing.delay :]
    model = conversion.export("float32", tmp_path / "model.tflite")
    for name in ("litert", "reference"):
        given = Stream(model, name).run(sequence["x"])[timing.delay :]
        np.testing.assert_allclose(given, wanted, atol=1e-4)
        starts = given[:: timing.period]
        np.testing.assert_array_equal(given, np.repeat(starts, timing.period, 0)[: len(given)])


@pytest.mark.slow
@pytest.mark.parametrize("build", NETWORKS)
def test_int8_is_near_on_every_runtime(build, tmp_path):
    model = exported(build, "int8", tmp_path / "model.tflite")
    assert model.contract.metrics["drift"]["rms"] < 0.05
    for one in verify_on_runtimes([model.path]):
        assert not one["failure"], one


@pytest.mark.slow
def test_targets_know_the_operators_of_images(tmp_path):
    model = exported(frame_networks.images, "int8", tmp_path / "model.tflite")
    for target in ("edgetpu", "micro"):
        report = check_file(model.path, target)
        assert report.fits, [(one.name, one.reasons) for one in report.operators if one.reasons]


def refused(*layers, shape=(None, 6)):
    network = tf_keras.Sequential([tf_keras.Input(shape), *layers])
    with pytest.raises(UnsupportedLayerError) as raised:
        keras_step_graph(network)
    return str(raised.value.message)


def test_what_looks_ahead_or_mixes_time_is_refused():
    assert "looks ahead" in refused(L.Conv1D(3, 3, padding="same"))
    assert "ZeroPadding2D(((2, 0)" in refused(L.Conv2D(3, 3, padding="same"), shape=(None, 6, 1))
    assert "mixes time" in refused(L.Reshape((-1, 3)))
    assert "mixes time" in refused(L.LSTM(2, return_sequences=True), L.Flatten())
    assert "exchanges time" in refused(L.Permute((2, 1, 3)), shape=(None, 6, 2))
    assert "makes 4 steps of two" in refused(L.UpSampling2D(2), shape=(None, 6, 2))
    assert "gets 3 steps of zeros" in refused(L.ZeroPadding1D((3, 0)), L.Conv1D(3, 3))
    assert "a size for each axis" in refused(L.Dense(3), shape=(None, None, 3))


def test_values_that_come_at_different_steps_are_not_joined():
    x = tf_keras.Input((None, 4))
    late = L.ZeroPadding1D((0, 0))(L.Conv1D(4, 3)(x))
    with pytest.raises(UnsupportedLayerError, match="come at different steps"):
        keras_step_graph(tf_keras.Model(x, L.Add()([late, L.Conv1D(4, 3, padding="causal")(x)])))
