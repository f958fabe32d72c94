"""Architectures that users bring, as data: how each is built and saved, by its framework.

All take the 12 channels of the task japanese-vowels (or token ids), with seeded random weights;
what is refused says with which words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS, VOCABULARY = 12, 30
TENSORFLOW, KERAS_3, PYTORCH, ONNX = "tf_keras", "Keras 3", "PyTorch", "ONNX"


@dataclass(frozen=True)
class Architecture:
    """``build`` takes the framework's module and gives a model; ``suffix`` is what it is saved as;
    ``refused`` is a part of the refusal, "" where the model can be stepped."""

    name: str
    framework: str
    build: Callable[[Any], Any]
    suffix: str = ".keras"
    refused: str = ""


def _sequential(*layers: Callable[[Any], Any], batch: Any = None) -> Callable[[Any], Any]:
    """Sequential over frames; each layer is made of the framework's ``layers`` module."""

    def build(keras: Any) -> Any:
        first = keras.Input(batch_shape=(batch, None, CHANNELS))
        return keras.Sequential([first, *(make(keras.layers) for make in layers)])

    return build


def _tokens(*layers: Callable[[Any], Any], mask: bool = False) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        first = keras.Input((None,), dtype="int32")
        table = keras.layers.Embedding(VOCABULARY, 8, mask_zero=mask)
        return keras.Sequential([first, table, *(make(keras.layers) for make in layers)])

    return build


def _gru(units: int = 16, **options: Any) -> Callable[[Any], Any]:
    return lambda layers: layers.GRU(units, **{"return_sequences": True, **options})


def _lstm(units: int = 16, **options: Any) -> Callable[[Any], Any]:
    return lambda layers: layers.LSTM(units, **{"return_sequences": True, **options})


def _dense(units: int = 9, **options: Any) -> Callable[[Any], Any]:
    return lambda layers: layers.Dense(units, **options)


def _layer(name: str, *values: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda layers: getattr(layers, name)(*values, **options)


def _residual(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, CHANNELS))
    h = layers.Dense(16)(x)
    for _ in range(2):
        h = layers.Add()([h, layers.GRU(16, return_sequences=True)(h)])
    return keras.Model(x, layers.Dense(9)(h))


def _added_tensors(keras: Any) -> Any:
    x = keras.Input((None, CHANNELS))
    h = keras.layers.LSTM(12, return_sequences=True)(x)
    return keras.Model(x, keras.layers.Dense(9)(h + x))


def _concatenated(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, CHANNELS))
    h = layers.LSTM(16, return_sequences=True)(x)
    return keras.Model(x, layers.Dense(9)(layers.Concatenate()([h, x])))


def _layer_norm(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, CHANNELS))
    h = layers.LayerNormalization()(layers.GRU(16, return_sequences=True)(x))
    return keras.Model(x, layers.Dense(9)(h))


def _two_inputs(keras: Any) -> Any:
    layers = keras.layers
    watch, phone = keras.Input((None, CHANNELS), name="watch"), keras.Input((None, 3), name="phone")
    both = layers.Concatenate()([layers.GRU(12, return_sequences=True)(watch), phone])
    h = layers.LSTM(12, return_sequences=True)(both)
    return keras.Model(
        [watch, phone], [layers.Dense(9, name="kind")(h), layers.Dense(1, name="effort")(h)]
    )


def _states_given(keras: Any) -> Any:
    x = keras.Input((None, CHANNELS))
    return keras.Model(x, keras.layers.LSTM(8, return_sequences=True, return_state=True)(x))


def _encoder_decoder(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, CHANNELS))
    _, h, c = layers.LSTM(8, return_state=True)(x)
    return keras.Model(x, layers.LSTM(8, return_sequences=True)(x, initial_state=[h, c]))


def _attention(keras: Any) -> Any:
    x = keras.Input((None, CHANNELS))
    h = keras.layers.GRU(8, return_sequences=True)(x)
    return keras.Model(x, keras.layers.Attention()([h, h]))


def _stacked_cells(layers: Any) -> Any:
    cells = [layers.LSTMCell(10), layers.GRUCell(8)]
    return layers.RNN(layers.StackedRNNCells(cells), return_sequences=True)


_CRNN = (
    _layer("Conv1D", 16, 5, padding="causal", activation="relu"),
    _layer("MaxPooling1D", 1),
    _gru(return_sequences=False),
    _dense(activation="softmax"),
)
_TCN = (
    *(
        _layer("Conv1D", 12, 3, padding="causal", dilation_rate=d, activation="relu")
        for d in (1, 2, 4)
    ),
    _gru(),
    _dense(),
)


def _torch(kind: str, depth: int, **options: Any) -> Callable[[Any], Any]:
    return lambda torch: getattr(torch.nn, kind)(CHANNELS, 10, depth, batch_first=True, **options)


_K2 = [
    ("SimpleRNN", _sequential(_layer("SimpleRNN", 16, return_sequences=True), _dense())),
    ("SimpleRNN of relu", _sequential(
        _layer("SimpleRNN", 16, return_sequences=True, activation="relu",
               recurrent_initializer="glorot_uniform"), _dense())),
    ("LSTM, one decision at the end", _sequential(
        _lstm(return_sequences=False), _dense(activation="softmax"))),
    ("LSTM of hard_sigmoid", _sequential(_lstm(recurrent_activation="hard_sigmoid"), _dense())),
    ("LSTM without bias", _sequential(_lstm(use_bias=False), _dense())),
    ("GRU", _sequential(_gru(), _dense())),
    ("GRU, reset before", _sequential(_gru(reset_after=False), _dense())),
    ("GRU as the output", _sequential(_gru())),
    ("three LSTMs", _sequential(_lstm(), _lstm(), _lstm(), _dense())),
    ("RNN of stacked cells", _sequential(_stacked_cells, _dense())),
    ("stateful=True", _sequential(_gru(stateful=True), _dense(), batch=1)),
    ("BatchNormalization", _sequential(
        _layer("BatchNormalization"), _gru(), _layer("BatchNormalization"), _dense())),
    ("LayerNormalization", _layer_norm),
    ("residual GRUs", _residual),
    ("LSTM + input (operator +)", _added_tensors),
    ("Concatenate of LSTM and input", _concatenated),
    ("CRNN", _sequential(*_CRNN)),
    ("causal TCN and GRU", _sequential(*_TCN)),
    ("DepthwiseConv1D", _sequential(
        _layer("ZeroPadding1D", (3, 0)), _layer("DepthwiseConv1D", 4), _lstm(), _dense())),
    ("SeparableConv1D", _sequential(
        _layer("ZeroPadding1D", (2, 0)), _layer("SeparableConv1D", 16, 3, activation="relu"),
        _gru(), _dense())),
    ("causal pooling", _sequential(
        _layer("ZeroPadding1D", (2, 0)), _layer("AveragePooling1D", 3, 1), _gru(), _dense())),
    ("two inputs, two outputs", _two_inputs),
    ("return_state", _states_given),
    ("GlobalAveragePooling1D", _sequential(
        _gru(), _layer("GlobalAveragePooling1D"), _dense())),
    ("GlobalMaxPooling1D", _sequential(_gru(), _layer("GlobalMaxPooling1D"), _dense())),
    ("Masking", _sequential(_layer("Masking"), _lstm(), _dense())),
    ("TimeDistributed and Dropout", _sequential(
        _layer("Dropout", 0.3), _lstm(), lambda layers: layers.TimeDistributed(layers.Dense(9)))),
    ("LeakyReLU head", _sequential(_gru(), _dense(16), _layer("LeakyReLU"), _dense())),
    ("PReLU head", _sequential(
        _gru(), _dense(16),
        _layer("PReLU", shared_axes=[1], alpha_initializer="random_uniform"), _dense())),
    ("ELU head", _sequential(_gru(), _dense(16, activation="elu"), _dense())),
    ("forecasting", _sequential(_lstm(32), _dense(8, activation="relu"), _dense(1))),
    ("character model", _tokens(_lstm(24), _dense(VOCABULARY, activation="softmax"))),
]  # fmt: skip
_REFUSED = [
    ("Bidirectional", _sequential(lambda layers: layers.Bidirectional(layers.GRU(8)), _dense()),
     "reads the sequence backwards"),
    ("go_backwards", _sequential(_gru(go_backwards=True)), "go_backwards"),
    ("Attention", _attention, "attends to the whole sequence"),
    ("initial_state of an encoder", _encoder_decoder, "initial_state"),
    ("Conv1D of padding same", _sequential(_layer("Conv1D", 8, 3, padding="same"), _gru()),
     "looks ahead"),
    ("Lambda", _sequential(_layer("Lambda", lambda value: value * 2), _gru()), "holds code"),
]  # fmt: skip
_K3 = [
    ("GRU, one decision at the end", _sequential(
        _gru(return_sequences=False), _dense(activation="softmax")), ".keras"),
    ("LSTM of hard_sigmoid", _sequential(_lstm(recurrent_activation="hard_sigmoid"), _dense()),
     ".keras"),
    ("two GRUs", _sequential(_gru(), _gru(12), _dense()), ".h5"),
    ("residual GRUs", _residual, ".keras"),
    ("LSTM + input (operator +)", _added_tensors, ".keras"),
    ("RNN of stacked cells", _sequential(_stacked_cells, _dense()), ".keras"),
    ("causal TCN and GRU", _sequential(*_TCN), ".keras"),
    ("BatchNormalization", _sequential(
        _layer("BatchNormalization"), _gru(), _dense(activation="relu")), ".keras"),
    ("two inputs, two outputs", _two_inputs, ".keras"),
    ("character model, masked", _tokens(_gru(24), _dense(VOCABULARY), mask=True), ".keras"),
]  # fmt: skip
_TORCH = [
    ("nn.RNN", "RNN", 1),
    ("nn.LSTM of 2 layers", "LSTM", 2),
    ("nn.GRU of 3 layers", "GRU", 3),
]

ARCHITECTURES: tuple[Architecture, ...] = (
    *(Architecture(name, TENSORFLOW, build) for name, build in _K2),
    Architecture("GRU in HDF5", TENSORFLOW, _sequential(_gru(), _dense()), ".h5"),
    Architecture("GRU in a SavedModel", TENSORFLOW, _sequential(_gru(), _dense()), ""),
    *(Architecture(name, KERAS_3, build, suffix) for name, build, suffix in _K3),
    *(Architecture(name, PYTORCH, _torch(kind, depth), ".pt") for name, kind, depth in _TORCH),
    *(Architecture(name, TENSORFLOW, build, refused=text) for name, build, text in _REFUSED),
)


def _window(steps: int, *layers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Sequential over windows of so many frames."""

    def build(keras: Any) -> Any:
        first = keras.Input((steps, CHANNELS))
        return keras.Sequential([first, *(make(keras.layers) for make in layers)])

    return build


def _both_ways(layers: Any) -> Any:
    return layers.Bidirectional(layers.GRU(8))


def _over_frequencies(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((None, CHANNELS))
    h = layers.ZeroPadding2D(((2, 0), (1, 1)))(layers.Reshape((-1, CHANNELS, 1))(x))
    h = layers.Conv2D(6, 3, strides=(1, 2), activation="relu")(h)
    h = layers.GRU(16, return_sequences=True)(layers.Reshape((-1, 36))(h))
    return keras.Model(x, layers.Dense(9)(h))


def _images(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ]
    )
    x = keras.Input((None, 8, 8, 3))
    h = layers.LSTM(16, return_sequences=True)(layers.TimeDistributed(image)(x))
    return keras.Model(x, layers.Dense(5)(h))


def _states_as_inputs(keras: Any) -> Any:
    layers = keras.layers
    x, h, c = keras.Input((1, CHANNELS)), keras.Input((16,)), keras.Input((16,))
    y, new_h, new_c = layers.LSTM(16, return_state=True)(x, initial_state=[h, c])
    return keras.Model([x, h, c], [layers.Dense(9)(y), new_h, new_c])


def _network(name: str, *values: Any, **options: Any) -> Callable[[Any], Any]:
    """An ONNX network of tests.convert.importers.onnx_networks."""
    return lambda networks: getattr(networks, name)(*values, **options)


def _front_end(networks: Any) -> Any:
    return networks.front_end(
        networks.node("Conv", "xc K1 k1", "a", strides=[2]),
        networks.node("MaxPool", "a", "c", kernel_shape=[2], strides=[2]),
    )


# With windows, steps that answer late, and networks that are no list of layers.
WIDER: tuple[Architecture, ...] = (
    *(Architecture(name, KERAS_3, build) for name, build in [
        ("GRU in windows of 16 (lanes)", _window(
            16, _gru(return_sequences=False), _dense(activation="softmax"))),
        ("Bidirectional in windows of 16", _window(16, _both_ways, _dense())),
        ("Conv1D of strides 2", _sequential(
            _layer("Conv1D", 16, 3, strides=2, activation="relu"), _gru(), _dense())),
        ("Conv2D over time and frequency", _over_frequencies),
        ("images: TimeDistributed CNN and LSTM", _images),
        ("LSTM whose states are inputs and outputs", _states_as_inputs),
        ("Normalization by given numbers", _sequential(
            _layer("Normalization", mean=0.5, variance=2.0), _gru(), _dense())),
    ]),
    *(Architecture(name, ONNX, build, ".onnx") for name, build in [
        ("LSTM over sequences", _network("sequence")),
        ("GRU, linear_before_reset", _network("sequence", "GRU", linear_before_reset=1)),
        ("GRU in windows of 20 (lanes)", _network("window")),
        ("LSTM that takes its states", _network("step")),
        ("causal convolutions and GRU", _network("causal_convolution")),
        ("convolution and pooling with strides, GRU", _front_end),
        ("bidirectional GRU in windows of 12", _network("both_ways")),
        ("normalization in single operators", _network("normalized")),
    ]),
)  # fmt: skip


def saved(architecture: Architecture, folder: Path) -> tuple[Path, Path | None]:
    """Build the model with seeded weights and save it; its file, and its description (PyTorch)."""
    path = folder / f"model{architecture.suffix}"
    if architecture.framework == PYTORCH:
        import torch

        torch.manual_seed(5)
        recurrence = architecture.build(torch)
        head = torch.nn.Linear(10, 9)
        state = {f"rnn.{name}": value for name, value in recurrence.state_dict().items()}
        state |= {f"fc.{name}": value for name, value in head.state_dict().items()}
        torch.save(state, path)
        kind = type(recurrence).__name__.lower()
        description = folder / "model.toml"
        description.write_text(
            f'[[layers]]\nkind = "{kind}"\nweights = "rnn"\n'
            '[[layers]]\nkind = "linear"\nweights = "fc"\n'
        )
        return path, description
    if architecture.framework == ONNX:
        from tests.convert.importers import onnx_networks

        path.write_bytes(architecture.build(onnx_networks).SerializeToString())
        return path, None
    if architecture.framework == KERAS_3:
        import keras
    else:
        import tf_keras as keras
    keras.utils.set_random_seed(5)
    model = architecture.build(keras)
    generator = np.random.default_rng(5)
    # Biases, means and scales other than the layers' own zeros and ones.
    weights = [
        weight + np.abs(generator.normal(0, 0.1, weight.shape)) if weight.ndim == 1 else weight
        for weight in model.get_weights()
    ]
    model.set_weights(weights)
    model.save(path)
    return path, None
