"""Networks of frames with several axes, of convolutions over time and frequency, and of strides.

Each builds with either Keras, given as its module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def images(keras: Any) -> Any:
    """A small CNN of each image, then a recurrence."""
    layers, each = keras.layers, keras.layers.TimeDistributed
    return keras.Sequential(
        [
            keras.Input((None, 12, 10, 2)),
            each(layers.Rescaling(0.5)),
            each(layers.ZeroPadding2D(1)),
            each(layers.Conv2D(4, 3, strides=2)),
            each(layers.BatchNormalization()),
            each(layers.Activation("relu")),
            each(layers.DepthwiseConv2D(3, padding="same")),
            each(layers.SeparableConv2D(6, 3, padding="same", activation="relu")),
            each(layers.AveragePooling2D(2, padding="same")),
            each(layers.Dropout(0.2)),
            each(layers.GlobalAveragePooling2D()),
            layers.GRU(8),
            layers.Dense(3),
        ]
    )


def nested(keras: Any) -> Any:
    """A whole network of each image, with paths that join, within TimeDistributed."""
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    both = [layers.Conv2D(4, 3, padding="same")(image), layers.Conv2D(4, 1)(image)]
    joined = layers.Concatenate()([layers.Add()(both), image])
    value = layers.MaxPooling2D(2)(layers.Conv2D(3, 2, strides=2)(joined))
    cnn = keras.Model(image, layers.Dense(6, activation="tanh")(layers.Flatten()(value)))
    video = keras.Input((None, 8, 8, 3))
    h = layers.LSTM(6, return_sequences=True)(layers.TimeDistributed(cnn)(video))
    return keras.Model(video, layers.Dense(2)(h))


def resized(keras: Any) -> Any:
    """Images that get larger and smaller, and their axes exchanged."""
    layers, each = keras.layers, keras.layers.TimeDistributed
    return keras.Sequential(
        [
            keras.Input((None, 8, 8, 1)),
            each(layers.Conv2D(3, 3, strides=2, padding="same", activation="relu")),
            each(layers.Conv2DTranspose(2, 3, strides=2, padding="same")),
            each(layers.UpSampling2D(2)),
            each(layers.Cropping2D(3)),
            each(layers.Permute((3, 1, 2))),
            each(layers.Reshape((2, 100))),
            each(layers.GlobalAveragePooling1D()),
            layers.GRU(4),
            layers.Dense(2),
        ]
    )


def dense_frames(keras: Any) -> Any:
    """Layers that work on each frame without TimeDistributed."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 4, 5, 3)),
            layers.Dense(4, activation="relu"),
            layers.BatchNormalization(axis=3),
            layers.LayerNormalization(axis=(2, 4)),
            layers.Permute((1, 3, 2, 4)),
            layers.Reshape((-1, 80)),
            layers.GRU(6, return_sequences=True),
            layers.Dense(12),
        ]
    )


def words(keras: Any) -> Any:
    """A recurrence within each frame, and one over the frames."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 6, 4)),
            layers.TimeDistributed(layers.LSTM(5)),
            layers.GRU(4, return_sequences=True),
            layers.Dense(2),
        ]
    )


def dual_path(keras: Any) -> Any:
    """Causal 2-D convolution, both ways along frequency, one way along time (DPCRN, GTCRN)."""
    layers = keras.layers
    x = keras.Input((None, 16))
    y = layers.ZeroPadding2D(((1, 0), (1, 1)))(layers.Reshape((-1, 16, 1))(x))
    y = layers.Conv2D(4, (2, 3), strides=(1, 2), activation="relu")(y)
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True))
    y = layers.Add()([y, layers.Dense(4)(layers.TimeDistributed(both)(y))])
    y = layers.GRU(6, return_sequences=True)(layers.Reshape((-1, 32))(y))
    return keras.Model(x, layers.Dense(16, activation="sigmoid")(y))


def keyword_spotter(keras: Any) -> Any:
    """A CRNN over time and frequency, causal."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 20)),
            layers.Reshape((-1, 20, 1)),
            layers.ZeroPadding2D(((2, 0), (1, 1))),
            layers.Conv2D(6, 3, strides=(1, 2), activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((1, 2)),
            layers.ZeroPadding2D(((4, 0), (0, 0))),
            layers.SeparableConv2D(5, (5, 2)),
            layers.UpSampling2D((1, 2)),
            layers.AveragePooling2D((1, 2)),
            layers.Reshape((-1, 20)),
            layers.GRU(8, return_sequences=True),
            layers.Dense(3),
        ]
    )


def dilated(keras: Any) -> Any:
    """Dilated in time, longer along frequency."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 12, 2)),
            layers.ZeroPadding2D(((4, 0), (1, 1))),
            layers.Conv2D(6, (3, 3), dilation_rate=(2, 1)),
            layers.ZeroPadding2D(((2, 0), (0, 0))),
            layers.DepthwiseConv2D((3, 3)),
            layers.Conv2DTranspose(2, (1, 3), strides=(1, 2), padding="same"),
            layers.Reshape((-1, 40)),
            layers.Dense(3),
        ]
    )


def valid(keras: Any) -> Any:
    """Not padded in time: the recurrence begins when the windows are full."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 12)),
            layers.Reshape((-1, 12, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Conv2D(4, 3),
            layers.Reshape((-1, 32)),
            layers.Conv1D(6, 2, padding="causal"),
            layers.GRU(6, return_sequences=True),
            layers.Dense(3),
        ]
    )


def valid_alone(keras: Any) -> Any:
    """Convolutions that are not padded, and nothing that remembers more than their windows."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.Conv1D(6, 3, activation="relu"),
            layers.Conv1D(6, 4, dilation_rate=2),
            layers.Dense(3),
        ]
    )


def strided(keras: Any) -> Any:
    """Causal with strides in time: an answer at every second step."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.Conv1D(6, 3, strides=2, padding="causal", activation="relu"),
            layers.Conv1D(6, 3, padding="causal"),
            layers.LSTM(6, return_sequences=True),
            layers.Dense(3),
        ]
    )


def pooled(keras: Any) -> Any:
    """Not padded and with strides, as most are: Conv1D, MaxPooling1D, Conv1D, LSTM."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.Conv1D(6, 3, activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(4, 3, strides=2),
            layers.LSTM(6),
            layers.Dense(3),
        ]
    )


def strided_images(keras: Any) -> Any:
    """Strides in time and frequency."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 12, 1)),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.MaxPooling2D((2, 1)),
            layers.Reshape((-1, 20)),
            layers.GRU(6, return_sequences=True),
        ]
    )


def convolutional_lstms(keras: Any) -> Any:
    """Two ConvLSTM2D of images."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 6, 5, 2)),
            layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True),
            layers.BatchNormalization(),
            layers.ConvLSTM2D(4, (2, 3), strides=2, recurrent_activation="hard_sigmoid"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def convolutional_lstm_of_rows(keras: Any) -> Any:
    """A ConvLSTM1D without bias."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 9, 2)),
            layers.ConvLSTM1D(3, 3, return_sequences=True, use_bias=False),
            layers.TimeDistributed(layers.Flatten()),
            layers.Dense(3),
        ]
    )


def forecaster(keras: Any) -> Any:
    """An encoder, and a decoder of four steps for each step of the stream."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.LSTM(6),
            layers.RepeatVector(4),
            layers.LSTM(5, return_sequences=True),
            layers.TimeDistributed(layers.Dense(1)),
            layers.Flatten(),
        ]
    )


def fixed_steps(keras: Any) -> Any:
    """Reshape layers that name the window's steps."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((20, 12)),
            layers.Reshape((20, 12, 1)),
            layers.Conv2D(4, (1, 3), padding="same", activation="relu"),
            layers.MaxPooling2D((1, 2)),
            layers.Reshape((20, -1)),
            layers.GRU(6, return_sequences=True),
            layers.GRU(4),
            layers.Dense(2),
        ]
    )


NETWORKS: tuple[Callable[[Any], Any], ...] = (
    images,
    nested,
    resized,
    dense_frames,
    words,
    dual_path,
    keyword_spotter,
    dilated,
    valid,
    valid_alone,
    strided,
    pooled,
    strided_images,
    convolutional_lstms,
    convolutional_lstm_of_rows,
    forecaster,
    fixed_steps,
)
