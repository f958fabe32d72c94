"""Why training for int8 is our own: TFMOT's quantizer takes no recurrent layer.

When a test here fails, TFMOT has learned it: compare it with convert/simulation.py, and mend
docs/survey.md and docs/quantization.md.
"""

from __future__ import annotations

import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

FRAMES = (10, 4)
LAYERS = {
    "SimpleRNN": lambda: tf_keras.layers.SimpleRNN(4),
    "GRU": lambda: tf_keras.layers.GRU(4),
    "LSTM": lambda: tf_keras.layers.LSTM(4),
    "RNN": lambda: tf_keras.layers.RNN(tf_keras.layers.LSTMCell(4)),
    "Bidirectional": lambda: tf_keras.layers.Bidirectional(tf_keras.layers.GRU(4)),
}


def network(layer):
    return tf_keras.Sequential([tf_keras.Input(FRAMES), layer, tf_keras.layers.Dense(2)])


@pytest.mark.parametrize("name", LAYERS)
def test_it_refuses_a_recurrent_layer(name):
    with pytest.raises(RuntimeError, match="is not supported"):
        tfmot.quantization.keras.quantize_model(network(LAYERS[name]()))


def test_it_takes_a_layer_without_recurrence():
    tfmot.quantization.keras.quantize_model(network(tf_keras.layers.Flatten()))
