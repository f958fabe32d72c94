"""Random recurrent models over all layers that can be stepped, in either Keras, made from a seed.

Each model comes with what the framework itself says of it: the function :attr:`RandomModel.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.convert.importers.random_layers import Draw
from tests.convert.importers.random_model import RandomModel

KINDS = (
    "sequence", "window", "states", "dicts", "images", "front end", "tokens", "masked", "strided",
    "operations", "static",
)  # fmt: skip


def make(keras: Any, seed: int) -> RandomModel:
    """Make the model of a seed, of the kind that its number stands for.

    Args:
        keras: the module of Keras 3 or of tf_keras.
    """
    kind = KINDS[seed % len(KINDS)]
    keras.utils.set_random_seed(seed)
    made = MAKERS[kind](Draw(keras, seed))
    generator = np.random.default_rng(seed)
    for layer in made.model._flatten_layers(include_self=False):
        # Of a Normalization, the weights are not all that it computes with.
        if type(layer).__name__ not in ("Normalization", "Functional", "Sequential"):
            layer.set_weights(
                [w + np.abs(generator.normal(0, 0.1, w.shape)) for w in layer.get_weights()]
                if not getattr(layer, "layer", None) and not getattr(layer, "cell", None)
                else layer.get_weights()
            )
    return made


def _sequence(draw: Draw) -> RandomModel:
    """A sequence of any length; an output at each step, or one at the end."""
    x = draw.keras.Input((None, 3))
    value = draw.stack(x, 1)
    end = draw.one("steps", "steps", "last", "mean", "max", "states")
    if end == "last":
        value = draw.recurrence(False)(value)
    elif end == "mean":
        value = draw.layers.GlobalAveragePooling1D()(draw.recurrence()(value))
    elif end == "max":
        value = draw.layers.GlobalMaxPooling1D()(draw.recurrence()(value))
    elif end == "states":
        value = draw.layers.GRU(4, return_state=True)(value)[1]
    else:
        value = draw.recurrence()(value)
    return RandomModel(draw.keras.Model(x, draw.head(value)), "sequence", [(3,)])


def _window(draw: Draw) -> RandomModel:
    """A window of fixed length, perhaps with layers that need the whole of it."""
    steps = int(draw.random.integers(6, 13))
    layers = draw.layers
    x = draw.keras.Input((steps, 3))
    value = draw.stack(x)
    end = draw.one(
        "last", "last", "slice", "flat", "both", "both ends", "valid", "attention", "mean", "same"
    )
    if end == "last":
        value = draw.recurrence(False)(value)
    elif end == "slice":
        value = draw.recurrence()(value)[:, -1]
    elif end == "flat":
        value = layers.Flatten()(draw.recurrence()(value))
    elif end == "both":
        inner = draw.one(layers.LSTM, layers.GRU)(4)
        value = layers.Bidirectional(inner, merge_mode=draw.one("concat", "sum", "ave"))(value)
    elif end == "both ends":
        value = layers.Bidirectional(layers.GRU(3, return_sequences=True))(value)
        value = layers.GlobalMaxPooling1D()(value)
    elif end == "valid":
        value = layers.Conv1D(5, 3, activation="relu")(value)
        value = draw.recurrence(False)(draw.one(layers.MaxPooling1D(2), layers.Dropout(0.1))(value))
    elif end == "same":
        value = layers.Conv1D(4, 3, padding="same", activation="relu")(value)
        value = draw.recurrence(False)(layers.MaxPooling1D(2)(value))
    elif end == "attention":
        value = draw.recurrence()(value)
        score = layers.Softmax(axis=1)(layers.Dense(1)(value))
        value = layers.GlobalAveragePooling1D()(layers.Multiply()([value, score]))
    else:
        value = layers.GlobalAveragePooling1D()(draw.recurrence()(value))
    model = draw.keras.Model(x, draw.head(value))
    return RandomModel(model, "window", [(3,)], window=steps)


def _states(draw: Draw) -> RandomModel:
    """One step that takes its states and gives the new ones."""
    layers, kind = draw.layers, draw.one("LSTM", "GRU", "two", "cell")
    units = draw.width()
    x = draw.keras.Input((3,) if kind == "cell" else (1, 3), name="frame")
    h = draw.keras.Input((units,), name="h_in")
    if kind == "cell":
        value, new = layers.GRUCell(units)(layers.Dense(4, activation="tanh")(x), [h])
        new = new[0] if isinstance(new, list | tuple) else new
        model = draw.keras.Model([x, h], [draw.head(value), new])
        return RandomModel(model, "states", [(3,)], states=(1,))
    value = draw.per_step(x)
    if kind == "GRU":
        value, new = layers.GRU(units, return_sequences=True, return_state=True)(
            value, initial_state=h
        )
        model = draw.keras.Model([x, h], [draw.head(value), new])
        return RandomModel(model, "states", [(3,)], states=(1,))
    c = draw.keras.Input((units,), name="c_in")
    if kind == "LSTM":
        value, *new = layers.LSTM(units, return_sequences=draw.often(), return_state=True)(
            value, initial_state=[h, c]
        )
    else:
        value, first = layers.GRU(units, return_sequences=True, return_state=True)(
            value, initial_state=h
        )
        value, second = layers.GRU(units, return_state=True)(value, initial_state=c)
        new = [first, second]
    model = draw.keras.Model([x, h, c], [draw.head(value), *new])
    return RandomModel(model, "states", [(3,)], states=(1, 2))


def _dicts(draw: Draw) -> RandomModel:
    """Two inputs and outputs by name."""
    layers = draw.layers
    a, b = draw.keras.Input((None, 3), name="acc"), draw.keras.Input((None, 2), name="baro")
    first = draw.stack(a)
    value = layers.Concatenate()([first, b] if draw.often() else [draw.stack(b), first])
    value = draw.recurrence()(value)
    model = draw.keras.Model(
        {"acc": a, "baro": b},
        {"activity": layers.Dense(3, name="activity")(value), "speed": draw.head(value)},
    )
    return RandomModel(model, "dicts", [(3,), (2,)])


def _images(draw: Draw) -> RandomModel:
    """Images in, each layer in a TimeDistributed or all of them as one model."""
    layers, keras = draw.layers, draw.keras
    size = int(draw.random.integers(6, 10))
    made: list[Any] = [layers.Rescaling(1 / 4)] if draw.often() else []
    for _ in range(int(draw.random.integers(1, 4))):
        made.append(
            draw.one(
                layers.Conv2D(3, 3, draw.one(1, 2), "same", activation="relu"),
                layers.DepthwiseConv2D(3, padding="same"),
                layers.SeparableConv2D(2, 3, padding="same"),
                layers.MaxPooling2D(2, padding="same"),
                layers.AveragePooling2D(2, 1),
                layers.BatchNormalization(),
                layers.Activation("tanh"),
            )
        )
    made.append(
        draw.one(layers.Flatten, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)()
    )
    window = draw.one(None, None, 4)
    x = keras.Input((window, size, size, 2))
    value = x
    if draw.often():
        value = layers.TimeDistributed(keras.Sequential([keras.Input((size, size, 2)), *made]))(x)
    else:
        for layer in made:
            value = layers.TimeDistributed(layer)(value)
    value = draw.recurrence(window is None and draw.often())(value)
    return RandomModel(keras.Model(x, draw.head(value)), "images", [(size, size, 2)], window=window)


def _front_end(draw: Draw) -> RandomModel:
    """Convolutions over time and frequency, causal, in front of a recurrence."""
    layers = draw.layers
    x = draw.keras.Input((None, 8))
    value = layers.Reshape((-1, 8, 1))(x)
    for _ in range(int(draw.random.integers(1, 3))):
        time = int(draw.random.integers(1, 4))
        value = layers.ZeroPadding2D(((time - 1, 0), (1, 1)))(value)
        value = draw.one(
            layers.Conv2D(3, (time, 3), (1, draw.one(1, 2)), activation="relu"),
            layers.DepthwiseConv2D((time, 3)),
            layers.SeparableConv2D(2, (time, 3)),
        )(value)
        value = draw.one(layers.BatchNormalization(), layers.PReLU(shared_axes=[1, 2]))(value)
    if draw.often():
        value = layers.MaxPooling2D((1, 2))(value)
    if draw.often():
        value = layers.TimeDistributed(layers.Flatten())(value)
    else:
        value = layers.Reshape((-1, int(value.shape[2]) * int(value.shape[3])))(value)
    value = draw.recurrence(draw.often(0.7))(value)
    return RandomModel(draw.keras.Model(x, draw.head(value)), "front end", [(8,)])


def _tokens(draw: Draw) -> RandomModel:
    """Token ids, in windows or sequences."""
    window = draw.one(None, 7)
    x = draw.keras.Input((window,), dtype="int32")
    value = draw.layers.Embedding(11, 5, mask_zero=draw.often())(x)
    if draw.often():
        value = draw.layers.SpatialDropout1D(0.2)(value)
    if draw.often():
        value = draw.recurrence()(value)
    value = draw.recurrence(window is None and draw.often())(value)
    model = draw.keras.Model(x, draw.head(value))
    return RandomModel(model, "tokens", [()], window=window, vocabulary=11)


def _masked(draw: Draw) -> RandomModel:
    """Padding that Keras skips, of one input or of one of two."""
    layers, window = draw.layers, draw.one(None, 6)
    x = draw.keras.Input((window, 3), name="a")
    masking = layers.Masking(draw.one(0.0, -10.0))
    inputs = [x]
    if draw.often(0.4):
        other = draw.keras.Input((window, 2), name="b")
        inputs.append(other)
        parts = draw.one([masking(x), other], [x, masking(other)])
        value = layers.Concatenate()(parts)
    else:
        value = masking(x)
    if draw.often():
        value = draw.recurrence()(value)
    value = draw.recurrence(window is None and draw.often())(value)
    frames: list[tuple[int, ...]] = [(3,), (2,)]
    model = draw.keras.Model(inputs, draw.head(value))
    return RandomModel(model, "masked", frames[: len(inputs)], window=window)


def _strided(draw: Draw) -> RandomModel:
    """Convolutions with strides or without padding: an answer at some steps only."""
    layers = draw.layers
    x = draw.keras.Input((None, 3))
    size = int(draw.random.integers(2, 5))
    padding = draw.one("causal", "valid")
    value = layers.Conv1D(5, size, draw.one(1, 2, 3), padding, activation="relu")(x)
    if draw.often(0.4):
        value = layers.Conv1D(4, 2, draw.one(1, 2), "causal")(value)
    elif draw.often(0.4):
        value = layers.MaxPooling1D(2)(value)
    value = draw.recurrence(draw.often(0.8))(value)
    return RandomModel(draw.keras.Model(x, draw.head(value)), "strided", [(3,)])


def _operations(draw: Draw) -> RandomModel:
    """Arithmetic, slices, functions and normalization of adapted data."""
    layers = draw.layers
    x = draw.keras.Input((None, 4))
    value = x
    if draw.often():
        normal = layers.Normalization(axis=draw.one(-1, None))
        normal.adapt(draw.random.normal(2, 3, (40, 9, 4)).astype(np.float32))
        value = normal(value)
    elif draw.often():
        value = layers.Normalization(
            mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 2.0, 3.0], invert=draw.often()
        )(value)
    else:
        value = value / 4.0 - 0.5
    a, b = draw.one((value[:, :, :2], value[:, :, 2:]), (value[:, :, 1:3], value[:, :, ::2]))
    if draw.often():
        a = draw.recurrence()(a)
        a = layers.Dense(2)(a)
    g = layers.Dense(2, activation="sigmoid")(value)
    mixed: Callable[[], Any] = draw.one(
        lambda: a * g + (1 - g) * b,
        lambda: (a - b) * 2.0 + g**2,
        lambda: -a * b / 3.0 + g,
        lambda: layers.Maximum()([a, b]) - layers.Minimum()([a, g]),
    )
    value = _function(draw, mixed())
    value = draw.recurrence()(value)
    if draw.often(0.3):
        value = value[:, -1, :]
    return RandomModel(draw.keras.Model(x, draw.head(value)), "operations", [(4,)])


def _function(draw: Draw, x: Any) -> Any:
    """Draw a function outside of the layers: of keras.ops, or of TensorFlow in tf_keras."""
    if draw.is_3:
        ops = draw.keras.ops
        return draw.one(
            lambda: ops.tanh(x),
            lambda: ops.concatenate([x, ops.abs(x)], axis=-1),
            lambda: ops.clip(x, -1.0, 1.0),
            lambda: ops.sigmoid(x) * x,
            lambda: ops.sqrt(ops.square(x) + 1.0),
            lambda: ops.mean(x, axis=-1, keepdims=True),
            lambda: x,
        )()
    import tensorflow as tf

    return draw.one(
        lambda: tf.tanh(x),
        lambda: tf.concat([x, tf.abs(x)], axis=-1),
        lambda: tf.clip_by_value(x, -1.0, 1.0),
        lambda: tf.sigmoid(x) * x,
        lambda: tf.sqrt(tf.square(x) + 1.0),
        lambda: tf.reduce_mean(x, axis=-1, keepdims=True),
        lambda: x,
    )()


def _static(draw: Draw) -> RandomModel:
    """Frames, and an input that stays for a sequence: joined at the end, or the first state."""
    window = draw.one(None, 5)
    x, fixed = draw.keras.Input((window, 3), name="x"), draw.keras.Input((2,), name="fixed")
    layers = draw.layers
    given = layers.Dense(3, activation="relu")(fixed) if draw.often() else fixed
    value = draw.stack(x)
    if draw.often():
        begin = [layers.Dense(4, activation="tanh")(given) for _ in range(2)]
        kind = draw.one("LSTM", "GRU")
        begun = layers.LSTM(4) if kind == "LSTM" else layers.GRU(4, reset_after=draw.often())
        value = begun(value, initial_state=begin if kind == "LSTM" else begin[0])
    else:
        value = layers.Concatenate()([draw.recurrence(False)(value), given])
    model = draw.keras.Model([x, fixed], draw.head(value))
    return RandomModel(model, "static", [(3,), (2,)], constant=(1,), window=window)


MAKERS: dict[str, Callable[[Draw], RandomModel]] = {
    "sequence": _sequence, "window": _window, "states": _states, "dicts": _dicts,
    "images": _images, "front end": _front_end, "tokens": _tokens, "masked": _masked,
    "strided": _strided, "operations": _operations, "static": _static,
}  # fmt: skip
