"""Random layers of Keras 3 or of tf_keras, drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear", "softsign", "elu", "softplus", "selu")


class Draw:
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
