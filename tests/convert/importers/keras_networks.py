"""Keras models that a user's own code builds, for files that hold their weights alone."""

import keras
import tf_keras


def _network(kind):
    layers = kind.layers
    x = kind.Input((6, 3), name="acc")
    return kind.Model(x, layers.Dense(2)(layers.GRU(4)(x)))


def in_keras_3():
    return _network(keras)


def in_tf_keras():
    return _network(tf_keras)


@keras.saving.register_keras_serializable("own")
class Gate(keras.layers.Layer):
    """A layer that is made of others."""

    def build(self, shape):
        self.gate = keras.layers.Dense(shape[-1], activation="sigmoid")
        self.gate.build(shape)

    def call(self, x):
        return self.gate(x) * x


def with_own_layer():
    layers = keras.layers
    x = keras.Input((None, 3))
    return keras.Model(x, layers.GRU(4, return_sequences=True)(Gate(name="gate")(x)))


class Tagger(keras.Model):
    """A class of its own, whose inputs only data tell."""

    def __init__(self):
        super().__init__()
        self.recurrence = keras.layers.LSTM(5, return_sequences=True)
        self.dropout = keras.layers.Dropout(0.3)
        self.head = keras.layers.Dense(2, activation="softmax")

    def call(self, x, training=False):
        return self.head(self.dropout(self.recurrence(x), training=training))


class OldTagger(tf_keras.Model):
    """The same in tf_keras."""

    def __init__(self):
        super().__init__()
        self.recurrence = tf_keras.layers.LSTM(5, return_sequences=True)
        self.head = tf_keras.layers.Dense(2, activation="softmax")

    def call(self, x, training=None):
        return self.head(self.recurrence(x))


@keras.saving.register_keras_serializable("own")
class Weighted(keras.layers.Layer):
    """A layer with weights that no layer of Keras holds."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor


def with_own_weights():
    x = keras.Input((None, 3))
    return keras.Model(x, keras.layers.GRU(4)(Weighted(name="weighted")(x)))


def nothing():
    return 3
