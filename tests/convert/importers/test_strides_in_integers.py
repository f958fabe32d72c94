"""Networks that answer at every s-th step, in integers: what is held has the state's grid."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.importers import import_model
from device_runner.stream import Stream


@pytest.mark.parametrize(
    ("scheme", "limit"), [("int8", 0.1), pytest.param("int16x8", 0.03, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("ends_in_state", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_held_output_is_stored_in_integers(scheme, limit, ends_in_state, tmp_path):
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(4)
    model = tf_keras.Sequential(
        [
            tf_keras.Input((None, 3)),
            layers.Conv1D(6, 3, strides=2, padding="causal", activation="relu"),
            layers.GRU(6, return_sequences=True),
        ]
        + [layers.Dense(2)] * (not ends_in_state)
    )
    model.save(tmp_path / "model.keras")
    frames = np.random.default_rng(2).normal(size=(10, 60, 3)).astype(np.float32)
    wanted = np.asarray(model(frames[:1], training=False))[0]
    conversion = prepare(
        import_model(tmp_path / "model.keras"), Facts(), [{"x": one} for one in frames]
    )
    conversion.export(scheme, tmp_path / "step.tflite")
    given = np.asarray(Stream(str(tmp_path / "step.tflite")).run(frames[0]))
    error = np.sqrt(np.mean((given[::2] - wanted) ** 2))
    assert error < limit * np.std(wanted)
    np.testing.assert_array_equal(given[1::2], given[::2])
