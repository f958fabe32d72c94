"""A model that was trained on fixed windows says how far a step with its state carried on is."""

from __future__ import annotations

import keras as keras3
import numpy as np
import pytest
import tf_keras as keras2

from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.importers import import_model
from convert.importers.imported import window_of
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from tests.convert.importers.float_steps import largest_error
from tests.convert.importers.test_keras import stepped

WINDOW, CHANNELS = 6, 3
BY_NAME = {"tf_keras": keras2, "Keras 3": keras3}


def _model(keras, steps=WINDOW, activation="softmax"):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.layers.Input((steps, CHANNELS)),
            keras.layers.GRU(5),
            keras.layers.Dense(3, activation=activation),
        ]
    )


def _sequences(count, steps):
    generator = np.random.default_rng(5)
    return [
        {"x": generator.normal(size=(steps, CHANNELS)).astype(np.float32)} for _ in range(count)
    ]


def _by_hand(model, frames, ends):
    """Compute the rms share and the share of other decisions from the saved model itself."""
    windows = np.stack([frames[end - WINDOW : end] for end in ends])
    wanted = np.asarray(model(windows, training=False))
    module = StepModule(keras_step_graph(_copy_of_free_steps(model)))
    given = stepped(module, {"x": frames})["y"][np.array(ends) - 1]
    rms = np.sqrt(np.mean((given - wanted) ** 2)) / np.ptp(wanted)
    return rms, np.mean(given.argmax(-1) != wanted.argmax(-1))


def _copy_of_free_steps(model):
    free = _model(keras2, None)
    free.set_weights(model.get_weights())
    return free


@pytest.mark.parametrize("name", BY_NAME)
def test_the_difference_is_that_of_the_last_frames_windows(tmp_path, name):
    model = _model(BY_NAME[name])
    model.save(tmp_path / "model.keras")
    imported = import_model(tmp_path / "model.keras")
    assert imported.window == WINDOW
    (sequence,) = _sequences(1, 40)
    found = prepare(imported, Facts(), [sequence]).window.difference
    rms, decisions = _by_hand(model, sequence["x"], range(WINDOW + 1, 41))
    assert found.compared == 40 - WINDOW
    assert found.rms == pytest.approx(rms, rel=1e-3)
    assert found.decisions == pytest.approx(decisions)
    assert rms > 1e-3


def test_windows_alone_are_stepped_one_after_the_other(tmp_path):
    model = _model(keras2)
    model.save(tmp_path / "model.keras")
    sequences = _sequences(7, WINDOW)
    found = prepare(import_model(tmp_path / "model.keras"), Facts(), sequences).window.difference
    frames = np.concatenate([one["x"] for one in sequences])
    rms, _ = _by_hand(model, frames, range(2 * WINDOW, 7 * WINDOW + 1, WINDOW))
    assert found.compared == 6
    assert found.rms == pytest.approx(rms, rel=1e-3)


def test_data_without_a_whole_window_leaves_the_difference_unknown(tmp_path):
    _model(keras2).save(tmp_path / "model.keras")
    sequences = _sequences(3, WINDOW - 1)
    found = prepare(import_model(tmp_path / "model.keras"), Facts(), sequences).window.difference
    assert found.compared == 0
    assert "is not known" in found.phrase
    assert found.facts() == {"steps": WINDOW, "compared": 0}


@pytest.mark.parametrize("name", BY_NAME)
def test_models_of_any_length_or_with_a_state_between_calls_have_no_window(name):
    keras = BY_NAME[name]
    assert window_of(_model(keras, None), set()) is None
    kept = keras.Sequential(
        [keras.layers.Input(batch_shape=(1, 4, 3)), keras.layers.GRU(2, stateful=True)]
    )
    assert window_of(kept, set()) is None
    tokens = keras.Sequential([keras.layers.Input((8,), name="ids"), keras.layers.Embedding(9, 2)])
    name = tokens.inputs[0].name.split(":")[0]
    assert window_of(tokens, {name}) == 8


def test_an_output_for_every_step_is_compared_as_before(tmp_path):
    keras = keras2
    layers = [keras.layers.Input((WINDOW, CHANNELS)), keras.layers.GRU(4, return_sequences=True)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    conversion = prepare(import_model(tmp_path / "model.keras"), Facts(), _sequences(2, 20))
    assert conversion.window is None
    assert conversion.proof.startswith("stepped it computes what the original does")


@pytest.mark.parametrize("kind", ["layer", "function", "product"])
def test_a_repeated_static_input_is_joined_within_its_window(tmp_path, kind):
    layers = keras3.layers
    x, site = keras3.Input((12, 3), name="frames"), keras3.Input((3,), name="site")
    repeated = layers.RepeatVector(12)(site)
    joined = {
        "layer": lambda: layers.Concatenate()([x, repeated]),
        "function": lambda: keras3.ops.concatenate([x, repeated], -1),
        "product": lambda: x * repeated,
    }[kind]()
    keras3.Model([x, site], layers.GRU(4)(joined)).save(tmp_path / "m.keras")
    imported = import_model(tmp_path / "m.keras", whole=True)
    assert imported.graph is None
    assert imported.whole is not None
    assert imported.window == 12


@pytest.mark.parametrize("framework", [keras2, keras3], ids=["tf_keras", "keras3"])
def test_one_id_beside_a_sequence_stays_for_it(tmp_path, framework):
    layers = framework.layers
    x, site = framework.Input((None, 3), name="frames"), framework.Input((1,), name="site")
    known = layers.Flatten()(layers.Embedding(5, 2)(site))
    joined = layers.Concatenate()([layers.GRU(4)(x), known])
    framework.Model([x, site], layers.Dense(2)(joined)).save(tmp_path / "m.keras")
    imported = import_model(tmp_path / "m.keras")
    assert imported.window is None
    assert [item.kind.name for item in imported.graph.inputs] == ["STEP", "CONSTANT"]
    assert largest_error(imported) < 1e-5


def test_a_static_gate_of_one_step_is_joined_with_every_step(tmp_path):
    layers = keras3.layers
    x, site = keras3.Input((None, 3), name="frames"), keras3.Input((2,), name="site")
    gate = layers.Reshape((1, 4))(layers.Dense(4, activation="sigmoid")(site))
    gated = layers.Multiply()([layers.GRU(4, return_sequences=True)(x), gate])
    keras3.Model([x, site], layers.Dense(2)(gated)).save(tmp_path / "m.keras")
    assert largest_error(import_model(tmp_path / "m.keras")) < 1e-5
