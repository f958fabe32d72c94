"""Recurrent models of the kinds that people ship, by their layers; the weights are random.

Each is built after the public description of its kind (named in its docstring or comment), smaller
where size does not matter. ``build`` takes the module of Keras 3 or of tf_keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Build = Callable[[Any], Any]


def rnnoise(keras: Any) -> Any:
    """Valin 2018, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech
    Enhancement": 42 features, three GRUs with concatenations, 22 gains and a voice decision."""
    layers = keras.layers
    x = keras.Input((None, 42), name="features")
    dense = layers.Dense(24, activation="tanh", name="input_dense")(x)
    vad = layers.GRU(24, return_sequences=True, name="vad_gru")(dense)
    voice = layers.Dense(1, activation="sigmoid", name="vad")(vad)
    both = layers.Concatenate(name="noise_input")([dense, vad, x])
    noise = layers.GRU(48, activation="relu", return_sequences=True, name="noise_gru")(both)
    all_three = layers.Concatenate(name="denoise_input")([vad, noise, x])
    denoise = layers.GRU(96, return_sequences=True, name="denoise_gru")(all_three)
    gains = layers.Dense(22, activation="sigmoid", name="gains")(denoise)
    return keras.Model(x, [gains, voice])


def dtln_mask(keras: Any) -> Any:
    """Westhausen and Meyer 2020, "Dual-signal Transformation LSTM Network": the first half, two
    LSTMs that estimate a mask of a magnitude spectrum, with the states as inputs and outputs."""
    layers = keras.layers
    x = keras.Input((1, 65), name="magnitude")
    states = [keras.Input((32,), name=f"{name}_in") for name in ("h1", "c1", "h2", "c2")]
    h, h1, c1 = layers.LSTM(32, return_sequences=True, return_state=True, name="lstm_1")(
        x, initial_state=states[:2]
    )
    h, h2, c2 = layers.LSTM(32, return_sequences=True, return_state=True, name="lstm_2")(
        h, initial_state=states[2:]
    )
    mask = layers.Dense(65, activation="sigmoid", name="mask")(h)
    return keras.Model([x, *states], [mask, h1, c1, h2, c2])


def guitar_amplifier(keras: Any) -> Any:
    """Wright, Damskägg and Välimäki 2019, "Real-Time Black-Box Modelling with Recurrent Neural
    Networks", as in NeuralPi: one LSTM, one output, the input added to it."""
    layers = keras.layers
    x = keras.Input((None, 1), name="guitar")
    h = layers.LSTM(20, return_sequences=True)(x)
    return keras.Model(x, layers.Add(name="amplified")([layers.Dense(1)(h), x]))


def voice_detector(keras: Any) -> Any:
    """The shape of common voice detectors (Silero's for one): convolutions over the last frames
    of a spectrum, an LSTM, one probability."""
    layers = keras.layers
    x = keras.Input((None, 65), name="spectrum")
    h = x
    for filters in (32, 16, 16, 32):
        h = layers.Conv1D(filters, 3, padding="causal", activation="relu")(h)
    h = layers.LSTM(32, return_sequences=True)(h)
    return keras.Model(x, layers.Dense(1, activation="sigmoid", name="speech")(layers.ReLU()(h)))


def speech_enhancer(keras: Any) -> Any:
    """After GTCRN (Rong and others 2024): 2-D convolutions, causal in time, along frequency, two
    GRUs over groups of channels, a mask."""
    layers = keras.layers
    x = keras.Input((None, 32, 2), name="spectrum")
    h = layers.ZeroPadding2D(((2, 0), (1, 1)))(x)
    h = layers.Conv2D(8, (3, 3), strides=(1, 2))(h)
    h = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(h))
    h = layers.Reshape((-1, 16 * 8))(h)
    first = layers.GRU(32, return_sequences=True)(layers.Dense(32)(h))
    second = layers.GRU(32, return_sequences=True)(layers.Dense(32)(h))
    h = layers.Dense(64)(layers.Concatenate()([first, second]))
    return keras.Model(x, layers.Activation("tanh", name="mask")(h))


def keyword_crnn(keras: Any) -> Any:
    """Arik and others 2017, "Convolutional Recurrent Neural Networks for Small-Footprint Keyword
    Spotting": a convolution over time and frequency, a GRU, a decision at each frame."""
    layers = keras.layers
    x = keras.Input((None, 40), name="mel")
    h = layers.Reshape((-1, 40, 1))(x)
    h = layers.ZeroPadding2D(((4, 0), (2, 2)))(h)
    h = layers.Conv2D(8, (5, 5), strides=(1, 4), activation="relu")(h)
    h = layers.Reshape((-1, 10 * 8))(h)
    h = layers.GRU(32, return_sequences=True)(h)
    return keras.Model(x, layers.Dense(12, activation="softmax", name="keyword")(h))


def activity_cnn_lstm(keras: Any) -> Any:
    """The usual network of tutorials on human activity: windows of an accelerometer and a
    gyroscope, convolutions, pooling, an LSTM, one decision a window."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64, 6)),
            layers.Conv1D(16, 3, activation="relu"),
            layers.Conv1D(16, 3, activation="relu"),
            layers.Dropout(0.5),
            layers.MaxPooling1D(2),
            layers.LSTM(24),
            layers.Dense(6, activation="softmax"),
        ]
    )


def activity_deep_conv_lstm(keras: Any) -> Any:
    """Ordóñez and Roggen 2016, "DeepConvLSTM": convolutions along time in each channel, two
    LSTMs, windows of 24 samples."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((24, 9)),
            layers.Conv1D(16, 5, activation="relu"),
            layers.Conv1D(16, 5, activation="relu"),
            layers.LSTM(32, return_sequences=True),
            layers.LSTM(32),
            layers.Dense(18, activation="softmax"),
        ]
    )


def remaining_life(keras: Any) -> Any:
    """The usual network for NASA's turbofan data: windows of 30 cycles of 14 sensors, two LSTMs,
    one number."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((30, 14)),
            layers.LSTM(32, return_sequences=True),
            layers.Dropout(0.2),
            layers.LSTM(16),
            layers.Dense(8, activation="relu"),
            layers.Dense(1),
        ]
    )


def battery_charge(keras: Any) -> Any:
    """Chemali and others 2018, "Long Short-Term Memory Networks for Accurate State-of-Charge
    Estimation of Li-ion Batteries": voltage, current and temperature, one value a step."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.BatchNormalization(),
            layers.LSTM(32, return_sequences=True),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def robot_policy(keras: Any) -> Any:
    """A recurrent policy as for reinforcement learning: an observation and a state in, actions, a
    value and a state out."""
    layers = keras.layers
    observation = keras.Input((24,), name="observation")
    state = keras.Input((32,), name="memory")
    h = layers.Dense(32, activation="elu")(observation)
    output, new = layers.GRUCell(32, name="gru")(h, [state])
    new = new[0] if isinstance(new, list | tuple) else new
    actions = layers.Dense(6, activation="tanh", name="actions")(output)
    return keras.Model([observation, state], [actions, layers.Dense(1, name="value")(output), new])


def weather_forecast(keras: Any) -> Any:
    """The forecast of TensorFlow's tutorial on time series: 24 hours of weather in, an LSTM, 24
    hours of several values out."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((24, 7)),
            layers.LSTM(32),
            layers.Dense(24 * 3),
            layers.Reshape((24, 3)),
        ]
    )


def sign_language(keras: Any) -> Any:
    """Landmarks of hands and body in windows of 30 frames, stacked LSTMs, one sign."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((30, 63)),
            layers.LSTM(32, return_sequences=True, activation="relu"),
            layers.LSTM(48, return_sequences=True, activation="relu"),
            layers.LSTM(32, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def video_action(keras: Any) -> Any:
    """A small CNN of each image and a GRU over a clip of 8 images."""
    layers = keras.layers
    image = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(16, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    return keras.Sequential(
        [
            keras.Input((8, 24, 24, 3)),
            layers.TimeDistributed(image),
            layers.GRU(24),
            layers.Dense(5, activation="softmax"),
        ]
    )


def precipitation(keras: Any) -> Any:
    """Shi and others 2015, "Convolutional LSTM Network": maps in, a map out, at each step."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 12, 12, 1)),
            layers.ConvLSTM2D(8, 3, padding="same", return_sequences=True),
            layers.TimeDistributed(layers.Conv2D(1, 3, padding="same", activation="sigmoid")),
        ]
    )


def sentiment(keras: Any) -> Any:
    """The text classifier of most tutorials: an embedding and an LSTM over 40 tokens."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((40,), dtype="int32"),
            layers.Embedding(30, 16),
            layers.LSTM(24),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def sound_events(keras: Any) -> Any:
    """Cakir and others 2017, "Convolutional Recurrent Neural Networks for Polyphonic Sound Event
    Detection", as shipped since: a bidirectional GRU over a window."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((24, 32)),
            layers.Conv1D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Bidirectional(layers.GRU(12, return_sequences=True)),
            layers.GlobalMaxPooling1D(),
            layers.Dense(4, activation="sigmoid"),
        ]
    )


def anomaly_autoencoder(keras: Any) -> Any:
    """An LSTM autoencoder of windows, whose error tells what is unusual."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 2)),
            layers.LSTM(16),
            layers.RepeatVector(16),
            layers.LSTM(16, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
        ]
    )


# What each is for, and how it is built.
SHIPPED: dict[str, Build] = {
    "denoiser (RNNoise)": rnnoise,
    "speech enhancement (DTLN, states as inputs)": dtln_mask,
    "speech enhancement (GTCRN)": speech_enhancer,
    "guitar amplifier (NeuralPi)": guitar_amplifier,
    "voice detector (as Silero's)": voice_detector,
    "keyword spotter (CRNN)": keyword_crnn,
    "sound events (bidirectional CRNN)": sound_events,
    "activity (CNN-LSTM, windows)": activity_cnn_lstm,
    "activity (DeepConvLSTM, windows)": activity_deep_conv_lstm,
    "remaining life (LSTMs, windows)": remaining_life,
    "battery charge (LSTM)": battery_charge,
    "anomalies (LSTM autoencoder, windows)": anomaly_autoencoder,
    "weather forecast (LSTM, windows)": weather_forecast,
    "robot policy (GRU cell, states as inputs)": robot_policy,
    "sign language (LSTMs, windows)": sign_language,
    "video action (CNN and GRU, windows)": video_action,
    "precipitation (ConvLSTM2D)": precipitation,
    "sentiment (embedding and LSTM, windows)": sentiment,
}
