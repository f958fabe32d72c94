"""States that a Keras model takes and gives are paired, and stepped as Keras steps them."""

from __future__ import annotations

import keras as keras3
import numpy as np
import pytest
import tf_keras

from convert.errors import UnsupportedLayerError
from convert.importers import import_model
from convert.step.step_module import StepModule
from tests.convert.importers.test_operations import wanted_and_given


def _lstm(keras, steps=1, by_keyword=True):
    layers = keras.layers
    x, h, c = keras.Input((steps, 3), name="frame"), keras.Input((4,)), keras.Input((4,), name="c")
    layer = layers.LSTM(4, return_state=True, return_sequences=True)
    y, h2, c2 = layer(x, initial_state=[h, c]) if by_keyword else layer([x, h, c])
    return keras.Model([x, h, c], [c2, layers.Dense(2, name="score")(y), h2])


def _two_grus(keras):
    layers = keras.layers
    x, a, b = (keras.Input(s, name=n) for s, n in (((1, 3), "x"), ((4,), "a_in"), ((4,), "b_in")))
    y, a2 = layers.GRU(4, return_state=True, return_sequences=True)(x, initial_state=a)
    z = layers.GRU(4)(y, initial_state=b)
    return keras.Model({"x": x, "a_in": a, "b_in": b}, {"y": layers.Dense(2)(z), "b": z, "a": a2})


def _cells(keras):
    layers = keras.layers
    x, h, c, g = (
        keras.Input((size,), name=name)
        for size, name in ((3, "x"), *zip((4, 4, 5), "hcg", strict=True))
    )
    y, (h2, c2) = layers.LSTMCell(4)(x, [h, c])
    z, g2 = layers.GRUCell(5)(y, [g])
    return keras.Model([x, h, c, g], [layers.Dense(2)(z + y[:, :1]), h2, c2, g2])


def _squeezed(keras):
    layers = keras.layers
    x, h = keras.Input((1, 3), name="x"), keras.Input((4,), name="h_in")
    cell = layers.GRUCell(4)
    out, h2 = cell(x[:, 0, :], [h])
    z = layers.GRU(3)(layers.Reshape((1, 4))(out))
    return keras.Model([x, h], [layers.Dense(2, name="y")(z), h2])


MODELS = {
    "LSTM": _lstm,
    "LSTM of any steps": lambda keras: _lstm(keras, None),
    "two GRUs, dicts": _two_grus,
    "cells": _cells,
    "without a time axis": _squeezed,
}
STATES = {
    "LSTM": 2, "LSTM of any steps": 2, "two GRUs, dicts": 2, "cells": 3, "without a time axis": 1,
}  # fmt: skip
QUICK = {("keras3", "cells"), ("keras3", "two GRUs, dicts"), ("tf_keras", "LSTM")}


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        pytest.param(framework, name, marks=() if (framework, name) in QUICK else pytest.mark.slow)
        for framework in ("keras3", "tf_keras")
        for name in MODELS
    ],
)
def test_states_are_fed_back(framework, name, tmp_path):
    keras = keras3 if framework == "keras3" else tf_keras
    keras.utils.set_random_seed(4)
    MODELS[name](keras).save(tmp_path / "m.keras")
    imported = import_model(tmp_path / "m.keras")
    assert len(imported.graph.carried) == STATES[name]
    for wanted, given in wanted_and_given(tmp_path / "m.keras"):
        assert wanted.shape == given.shape
        np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_inputs_outputs_and_states_keep_the_names_of_the_model(tmp_path):
    _lstm(tf_keras).save(tmp_path / "m.keras")
    graph = import_model(tmp_path / "m.keras").graph
    assert [item.name for item in graph.inputs] == ["frame"]
    assert [name for name, _ in graph.outputs] == ["score"]
    assert "c" in StepModule(graph).states


def test_a_state_that_is_not_given_back_is_refused_by_name(tmp_path):
    x, h, c = keras3.Input((1, 3)), keras3.Input((4,), name="h_in"), keras3.Input((4,), name="c_in")
    y, h2, _ = keras3.layers.LSTM(4, return_state=True)(x, initial_state=[h, c])
    keras3.Model([x, h, c], [y, h2]).save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedLayerError, match="input 'c_in' is a state of layer 'lstm"):
        import_model(tmp_path / "m.keras")
