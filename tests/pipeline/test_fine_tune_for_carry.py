"""The example that fine-tunes a model of windows for a state that is carried on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

WINDOW = 6


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[2] / "examples" / "fine_tune_for_carry.py"
    spec = importlib.util.spec_from_file_location("fine_tune_for_carry", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_same_weights_see_whole_sequences(example, tmp_path):
    import keras

    frames = keras.Input((WINDOW, 2))
    last = keras.layers.GRU(4)(keras.layers.LSTM(3, return_sequences=True)(frames))
    model = keras.Model(frames, keras.layers.Dense(3, activation="softmax")(last))
    generator = np.random.default_rng(1)
    x = generator.normal(size=(4, 20, 2)).astype(np.float32)
    longer = example.over_sequences(model)
    assert longer.output_shape == (None, None, 3)
    # Until the first window's end the two mean the same.
    np.testing.assert_allclose(longer(x)[:, WINDOW - 1], model(x[:, :WINDOW]), atol=1e-6)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=generator.integers(0, 3, (4, 20)))
    example.main(*(str(tmp_path / name) for name in ("model.keras", "data.npz", "longer.keras")))
    tuned = keras.models.load_model(tmp_path / "longer.keras")
    assert tuned(x[:, :9]).shape == (4, 9, 3)
