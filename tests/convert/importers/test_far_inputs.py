"""Inputs far from zero, or of very different size, are normalized before they meet 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.importers import import_model
from convert.layers import scaling
from device_runner.stream import Stream

CENTRE, DEVIATION = np.array([101325.0, 0.5]), np.array([800.0, 0.1])


def network(kind: str) -> tf_keras.Model:
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(3)
    scaled = {
        "Normalization": lambda: layers.Normalization(mean=CENTRE, variance=DEVIATION**2),
        "Rescaling": lambda: layers.Rescaling(
            (1 / DEVIATION).tolist(), (-CENTRE / DEVIATION).tolist()
        ),
        "BatchNormalization": layers.BatchNormalization,
    }[kind]()
    model = tf_keras.Sequential(
        [
            tf_keras.Input((None, 2)),
            scaled,
            layers.GRU(8, return_sequences=True),
            layers.Dense(1),
        ]
    )
    if kind == "BatchNormalization":
        scaled.set_weights([np.ones(2), np.zeros(2), CENTRE, DEVIATION**2])
    return model


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("Normalization", "int8"),
        pytest.param("Rescaling", "dynamic", marks=pytest.mark.slow),
        pytest.param("BatchNormalization", "int16x8", marks=pytest.mark.slow),
        pytest.param("Rescaling", "int8", marks=pytest.mark.slow),
    ],
)
def test_far_inputs_keep_their_differences(kind, scheme, tmp_path):
    model = network(kind)
    model.save(tmp_path / "model.keras")
    draw = np.random.default_rng(5)
    frames = (CENTRE + DEVIATION * draw.normal(size=(20, 40, 2))).astype(np.float32)
    wanted = np.asarray(model(frames[:1], training=False))[0]
    conversion = prepare(
        import_model(tmp_path / "model.keras"), Facts(), [{"x": one} for one in frames]
    )
    path = tmp_path / "step.tflite"
    conversion.export(scheme, path)
    given = Stream(str(path)).run(frames[0])
    error = np.sqrt(np.mean((np.reshape(given, wanted.shape) - wanted) ** 2))
    assert error < (0.1 if scheme == "int8" else 0.02) * np.std(wanted)


def test_inputs_of_one_size_near_zero_are_folded():
    model = tf_keras.Sequential([tf_keras.Input((None, 3)), tf_keras.layers.Rescaling(1 / 255)])
    (node,) = model.layers[0].inbound_nodes
    assert not scaling.rescaling(model.layers[0], node).float_only
