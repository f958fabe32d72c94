"""The networks of :mod:`tests.convert.importers.same_weights` in Keras 3 or tf_keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.convert.importers.same_weights import weights_of


def silero(keras: Any) -> Any:
    layers = keras.layers
    x, h0, c0 = keras.Input((8, 17), name="x"), keras.Input((16,)), keras.Input((16,))
    y = x
    for number, (width, stride) in enumerate(((16, 1), (12, 2), (12, 2), (16, 2))):
        y = layers.ZeroPadding1D(1)(y)
        y = layers.Conv1D(width, 3, strides=stride, activation="relu", name=f"conv_{number}")(y)
    y, (h, c) = layers.LSTMCell(16, name="cell")(layers.Flatten()(y), [h0, c0])
    speech = layers.Dense(1, activation="sigmoid", name="speech")(layers.ReLU()(y))
    return keras.Model([x, h0, c0], [speech, h, c])


def dtln(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((1, 32), name="x")
    states = [keras.Input((12,), name=f"{name}_in") for name in ("h1", "c1", "h2", "c2")]
    code = layers.Conv1D(16, 1, use_bias=False, name="encoder")(x)
    y = layers.LayerNormalization(epsilon=1e-7, name="norm")(code)
    settings = {"return_sequences": True, "return_state": True}
    y, h1, c1 = layers.LSTM(12, name="lstm_1", **settings)(y, initial_state=states[:2])
    y, h2, c2 = layers.LSTM(12, name="lstm_2", **settings)(y, initial_state=states[2:])
    mask = layers.Dense(16, activation="sigmoid", name="mask")(y)
    y = layers.Conv1D(32, 1, use_bias=False, name="decoder")(layers.Multiply()([code, mask]))
    return keras.Model([x, *states], [y, h1, c1, h2, c2])


def gtcrn(keras: Any) -> Any:
    layers = keras.layers

    def along(name: str) -> Any:
        both = layers.Bidirectional(layers.GRU(2, return_sequences=True), name=f"{name}_gru")
        return layers.TimeDistributed(both, name=name)

    x = keras.Input((None, 16, 2), name="x")
    y = layers.ZeroPadding2D(((2, 0), (1, 1)))(x)
    y = layers.Conv2D(8, 3, strides=(1, 2), name="conv")(y)
    y = layers.BatchNormalization(epsilon=1e-5, name="norm")(y)
    y = layers.PReLU(shared_axes=[1, 2], name="prelu")(y)
    low, high = along("low")(y[:, :, :, :4]), along("high")(y[:, :, :, 4:])
    y = layers.Add()([y, layers.Concatenate()([low, high])])
    y = layers.Reshape((-1, 64))(y)
    first = layers.GRU(24, return_sequences=True, name="time_a")(y[:, :, :32])
    second = layers.GRU(24, return_sequences=True, name="time_b")(y[:, :, 32:])
    y = layers.Dense(32, activation="tanh", name="mask")(layers.Concatenate()([first, second]))
    return keras.Model(x, layers.Multiply()([layers.Reshape((-1, 16, 2))(y), x]))


def rnnoise(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, 42), name="x")
    dense = layers.Dense(24, activation="tanh", name="dense")(x)
    vad = layers.GRU(24, return_sequences=True, name="vad_gru")(dense)
    both = layers.Concatenate()([dense, vad, x])
    noise = layers.GRU(48, return_sequences=True, name="noise_gru")(both)
    y = layers.Concatenate()([vad, noise, x])
    y = layers.GRU(96, return_sequences=True, name="denoise_gru")(y)
    gains = layers.Dense(22, activation="sigmoid", name="gains")(y)
    return keras.Model(x, [gains, layers.Dense(1, activation="sigmoid", name="vad")(vad)])


def neuralpi(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, 1), name="x")
    y = layers.LSTM(20, return_sequences=True, name="lstm")(x)
    return keras.Model(x, layers.Add()([layers.Dense(1, name="dense")(y), x]))


MADE: dict[str, Callable[[Any], Any]] = {
    "Silero": silero,
    "DTLN": dtln,
    "GTCRN": gtcrn,
    "RNNoise": rnnoise,
    "NeuralPi": neuralpi,
}


def made(kind: str, keras: Any) -> Any:
    """Make a network with its weights."""
    network = MADE[kind](keras)
    for name, arrays in weights_of(kind).items():
        network.get_layer(name).set_weights(arrays)
    return network
