"""Random recurrent models over all layers that can be stepped, in either Keras, made from a seed.

Each model comes with what the framework itself says of it: the function :attr:`RandomModel.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear", "softsign", "elu", "softplus", "selu")
KINDS = (
    "sequence", "window", "states", "dicts", "images", "front end", "tokens", "masked", "strided",
    "operations", "static",
)  # fmt: skip


@dataclass
class RandomModel:
    """A model, and what it is.

    Attributes:
        model: of Keras 3 or of tf_keras.
        kind: of KINDS.
        frames: shape of one frame of each input in the model's order; () for a token id.
        constant: numbers of the inputs that stay for a sequence.
        window: steps of its windows; None if it takes any number.
        states: for a model of one step, which output is the next value of each last input.
        vocabulary: number of token ids.
    """

    model: Any
    kind: str
    frames: list[tuple[int, ...]]
    constant: tuple[int, ...] = ()
    window: int | None = None
    states: tuple[int, ...] = ()
    vocabulary: int = 0

    def stream(self, seed: int, steps: int) -> list[Any]:
        """Draw the frames of one sequence for each input, [steps, *frame]."""
        generator = np.random.default_rng(seed)
        found = []
        for number, frame in enumerate(self.frames):
            if self.vocabulary:
                found.append(generator.integers(1, self.vocabulary, (steps, 1)).astype(np.int32))
                continue
            values = generator.normal(size=(steps, *frame)).astype(np.float32)
            found.append(np.repeat(values[:1], steps, 0) if number in self.constant else values)
        return found

    def ask(self, stream: list[Any], timing: tuple[int, int], sums_up: bool) -> Any:
        """Ask the framework for the first output at each frame; NaN where it has no answer.

        Args:
            timing: steps before the first answer, and from one answer to the next.
            sums_up: whether an answer stands for the whole sequence so far.
        """
        steps = len(stream[0])
        if self.states:
            return self._stepped(stream)
        if self.window and sums_up:
            ends = range(self.window, steps + 1)
            answers = [self._called(stream, end - self.window, end) for end in ends]
            return _at(steps, [end - 1 for end in ends], answers)
        if self.window:
            return np.concatenate(
                [self._called(stream, at, at + self.window) for at in range(0, steps, self.window)][
                    :1
                ]
            )
        if sums_up:
            ends = range(timing[0] + 1, steps + 1)
            return _at(steps, [end - 1 for end in ends], [self._called(stream, 0, e) for e in ends])
        answers = self._called(stream, 0, steps)
        return _at(steps, range(timing[0], steps, timing[1]), answers)

    def _called(self, stream: list[Any], begin: int, end: int) -> Any:
        """Call the model on some frames of a stream; return its first output without a batch."""
        given = []
        for number, values in enumerate(stream):
            if number in self.constant:
                given.append(values[:1])
            elif self.vocabulary:
                given.append(values[np.newaxis, begin:end, 0])
            else:
                given.append(values[np.newaxis, begin:end])
        return self._outputs(given)[0][0]

    def _outputs(self, given: list[Any]) -> list[Any]:
        packed: Any = given if len(given) > 1 else given[0]
        if self.kind == "dicts":
            packed = dict(zip(("acc", "baro"), given, strict=True))
        found = self.model(packed, training=False)
        if isinstance(found, dict):
            return [np.asarray(found[name]) for name in sorted(found)]
        return [np.asarray(one) for one in (found if isinstance(found, list | tuple) else [found])]

    def _stepped(self, stream: list[Any]) -> Any:
        count = len(self.model.inputs) - len(self.states)
        states = [
            np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in self.model.inputs[count:]
        ]
        rows = []
        for step in range(len(stream[0])):
            frames = []
            for values, tensor in zip(stream, self.model.inputs, strict=False):
                frame = values[np.newaxis, step]
                frames.append(frame[:, np.newaxis] if len(tensor.shape) > frame.ndim else frame)
            outputs = self._outputs([*frames, *states])
            states = [outputs[place] for place in self.states]
            rows.append(outputs[0].reshape(-1))
        return np.array(rows)


def _at(steps: int, places: Any, answers: Any) -> Any:
    """Put answers where they belong in a stream, NaN elsewhere."""
    found = np.full((steps, *np.shape(answers[0])), np.nan, np.float32)
    for place, answer in zip(places, answers, strict=True):
        found[place] = answer
    return found


def make(keras: Any, seed: int) -> RandomModel:
    """Make the model of a seed, of the kind that its number stands for.

    Args:
        keras: the module of Keras 3 or of tf_keras.
    """
    kind = KINDS[seed % len(KINDS)]
    keras.utils.set_random_seed(seed)
    made = MAKERS[kind](_Draw(keras, seed))
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


class _Draw:
    """What random models are made of."""

    def __init__(self, keras: Any, seed: int) -> None:
        self.keras, self.layers = keras, keras.layers
        self.is_3 = keras.__version__.startswith("3")
        self.random = np.random.default_rng(1000 + seed)

    def one(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def often(self, share: float = 0.5) -> bool:
        return bool(self.random.random() < share)

    def width(self) -> int:
        return int(self.random.integers(2, 8))

    def recurrence(self, sequences: bool = True, **others: Any) -> Any:
        """Draw a recurrent layer."""
        units, layers = self.width(), self.layers
        settings: dict[str, Any] = {"return_sequences": sequences, **others}
        kind = self.one("LSTM", "LSTM", "GRU", "GRU", "SimpleRNN", "stacked")
        if kind == "stacked" and not others:
            cells = [layers.LSTMCell(units), layers.GRUCell(self.width())]
            return layers.RNN(cells, **settings)
        if kind in ("SimpleRNN", "stacked"):
            return layers.SimpleRNN(units, activation=self.one("tanh", "sigmoid"), **settings)
        settings |= {
            "use_bias": self.often(0.8),
            "recurrent_activation": self.one("sigmoid", "sigmoid", "hard_sigmoid"),
            "activation": self.one("tanh", "tanh", "softsign", "sigmoid"),
        }
        if kind == "GRU":
            settings["reset_after"] = self.often(0.7)
        return getattr(layers, kind)(units, **settings)

    def per_step(self, x: Any) -> Any:
        """Draw a layer that sees nothing but one step."""
        layers, units = self.layers, self.width()
        kind = self.one(
            "dense", "batch", "layer", "dropout", "activation", "scaled", "gated", "skip"
        )
        if kind == "dense":
            return layers.Dense(units, activation=self.one(*ACTIVATIONS))(x)
        if kind == "batch":
            return layers.BatchNormalization()(x)
        if kind == "layer":
            return layers.LayerNormalization()(layers.Dense(units + 2)(x))
        if kind == "dropout":
            return self.one(
                layers.Dropout(0.3), layers.SpatialDropout1D(0.3), layers.GaussianNoise(1)
            )(x)
        if kind == "activation":
            made = (
                layers.ReLU(6.0),
                layers.LeakyReLU(0.1),
                layers.ELU(),
                layers.PReLU(shared_axes=[1]),
            )
            return self.one(*made)(x)
        if kind == "scaled":
            return layers.Rescaling(0.5, 0.1)(x)
        wide = int(x.shape[-1])
        if kind == "gated":
            gate = layers.Dense(wide, activation="sigmoid")(x)
            return layers.Multiply()([gate, x])
        return self.one(layers.Add(), layers.Concatenate())([layers.Dense(wide)(x), x])

    def looking_back(self, x: Any) -> Any:
        """Draw a layer over the last steps, which keeps their number."""
        layers, units = self.layers, self.width()
        size, dilation = int(self.random.integers(1, 5)), int(self.random.integers(1, 3))
        kind = self.one("conv", "conv", "grouped", "depth", "separable", "pool")
        if kind == "conv":
            return layers.Conv1D(units, size, padding="causal", dilation_rate=dilation)(x)
        if kind == "grouped":
            return layers.Conv1D(4, size, padding="causal", groups=2)(layers.Dense(4)(x))
        x = layers.ZeroPadding1D((size - 1, 0))(x)
        if kind == "depth":
            return layers.DepthwiseConv1D(size, depth_multiplier=self.one(1, 2))(x)
        if kind == "separable":
            return layers.SeparableConv1D(units, size, activation="relu")(x)
        return self.one(layers.MaxPooling1D, layers.AveragePooling1D)(size, 1)(x)

    def stack(self, x: Any, least: int = 0) -> Any:
        """Draw a few layers that keep the steps."""
        for _ in range(int(self.random.integers(least, 4))):
            part = self.one(self.per_step, self.per_step, self.looking_back, self.recurrent)
            x = part(x)
        return x

    def recurrent(self, x: Any) -> Any:
        return self.recurrence()(x)

    def head(self, x: Any) -> Any:
        """Draw what comes after the last recurrence."""
        layers = self.layers
        if self.often(0.4):
            x = layers.Dense(self.width(), activation=self.one("relu", "tanh"))(x)
            x = layers.Dropout(0.2)(x)
        return layers.Dense(self.width(), activation=self.one(None, "sigmoid", "softmax"))(x)


def _sequence(draw: _Draw) -> RandomModel:
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


def _window(draw: _Draw) -> RandomModel:
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


def _states(draw: _Draw) -> RandomModel:
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


def _dicts(draw: _Draw) -> RandomModel:
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


def _images(draw: _Draw) -> RandomModel:
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


def _front_end(draw: _Draw) -> RandomModel:
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


def _tokens(draw: _Draw) -> RandomModel:
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


def _masked(draw: _Draw) -> RandomModel:
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


def _strided(draw: _Draw) -> RandomModel:
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


def _operations(draw: _Draw) -> RandomModel:
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


def _function(draw: _Draw, x: Any) -> Any:
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


def _static(draw: _Draw) -> RandomModel:
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


MAKERS: dict[str, Callable[[_Draw], RandomModel]] = {
    "sequence": _sequence, "window": _window, "states": _states, "dicts": _dicts,
    "images": _images, "front end": _front_end, "tokens": _tokens, "masked": _masked,
    "strided": _strided, "operations": _operations, "static": _static,
}  # fmt: skip
