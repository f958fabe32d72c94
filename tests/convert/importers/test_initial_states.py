"""Recurrences that begin with numbers, or with what a fixed input gives, do so in a stream too."""

from __future__ import annotations

import keras as keras_3
import numpy as np
import pytest
import tf_keras

from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.import_conversion.window_choice import WindowWish, choose_meaning
from convert.importers import import_model
from convert.step.step_graph import Kind
from tests.convert.importers.float_steps import largest_error

FRAMEWORKS = {"Keras 3": keras_3, "tf_keras": tf_keras}


def _conditioned(keras, steps=None, kind="LSTM"):
    """A caption of features: they give the state that the recurrence begins with."""
    layers = keras.layers
    x, features = keras.Input((steps, 3), name="x"), keras.Input((4,), name="features")
    h, c = layers.Dense(5, name="to_h")(features), layers.Dense(5, name="to_c")(features)
    begin = [h, c] if kind == "LSTM" else h
    recurrence = getattr(layers, kind)(5, return_sequences=steps is None)
    return keras.Model([x, features], layers.Dense(2)(recurrence(x, initial_state=begin)))


def _saved(model, folder):
    generator = np.random.default_rng(3)
    model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
    model.save(folder / "model.keras")
    return import_model(folder / "model.keras", whole=True)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_stays_the_same_is_begun_with(framework, kind, tmp_path):
    imported = _saved(_conditioned(FRAMEWORKS[framework], kind=kind), tmp_path)
    assert [item.kind for item in imported.step_graph.inputs] == [Kind.STEP, Kind.CONSTANT]
    assert largest_error(imported) < 1e-4


def test_each_lane_of_a_window_begins_with_it(tmp_path):
    imported = _saved(_conditioned(keras_3, 6), tmp_path)
    meaning = choose_meaning(imported, WindowWish())
    assert meaning.window.lanes == 6
    assert prepare(imported, Facts(), None, meaning=meaning).float_error < 1e-4


def test_numbers_are_begun_with(tmp_path):
    # tf_keras writes such a model, but cannot read it.
    x = keras_3.Input((None, 3))
    numbers = [np.full((1, 4), value, np.float32) for value in (0.5, -2.0)]
    y = keras_3.layers.LSTM(4, return_sequences=True)(x, initial_state=numbers)
    imported = _saved(keras_3.Model(x, y), tmp_path)
    begun = imported.step_graph.states["h"].initial, imported.step_graph.states["c"].initial
    np.testing.assert_array_equal(begun, [[0.5] * 4, [-2.0] * 4])
    assert largest_error(imported) < 1e-4


def test_what_a_sequence_gives_is_refused_but_computed_over_a_window(tmp_path):
    layers = keras_3.layers
    x = keras_3.Input((6, 3))
    _, h, c = layers.LSTM(4, return_state=True)(x)
    y = layers.LSTM(4)(x, initial_state=[h, c])
    imported = _saved(keras_3.Model(x, y), tmp_path)
    assert "that changes over the sequence" in imported.refusal.message
    assert choose_meaning(imported, WindowWish()).window.lanes == 0
