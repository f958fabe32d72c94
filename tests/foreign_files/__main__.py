"""Write the files anew, which differ in bytes between releases: python -m tests.foreign_files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tests.foreign_files import foreign_file

FRAME, UNITS = 5, 8
Converter = tf.lite.TFLiteConverter


def stateful(cell: str, unroll: bool) -> keras.Model:
    """A Keras model that keeps its state in variables."""
    x = keras.layers.Input(batch_shape=(1, 1, FRAME))
    layer = getattr(keras.layers, cell)(UNITS, stateful=True, unroll=unroll)
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(layer(x)))


def fused(steps: int | None) -> keras.Model:
    """An LSTM that the converter makes one operator of, which keeps its state."""
    x = keras.layers.Input(batch_shape=(1, steps, FRAME))
    h = keras.layers.LSTM(UNITS, return_sequences=steps is None)(x)
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(h))


def states_as_inputs(batch: int | None) -> keras.Model:
    """An LSTM whose states go in and out, called as their maker likes."""
    x = keras.layers.Input(batch_shape=(batch, 1, FRAME), name="x")
    h, c = (keras.layers.Input(batch_shape=(batch, UNITS), name=name) for name in ("h_in", "c_in"))
    y, *new = keras.layers.LSTM(UNITS, return_state=True, unroll=True)(x, initial_state=[h, c])
    return keras.Model([x, h, c], [keras.layers.Dense(3)(y), *new])


def two_grus() -> keras.Model:
    """Two GRUs whose states go in and out, not unrolled."""
    x = keras.layers.Input(batch_shape=(1, 1, FRAME), name="x")
    states = [keras.layers.Input(batch_shape=(1, UNITS), name=name) for name in ("s0", "s1")]
    y, new = x, []
    for place, state in enumerate(states):
        layer = keras.layers.GRU(UNITS, return_state=True, return_sequences=not place)
        y, last = layer(y, initial_state=[state])
        new.append(last)
    return keras.Model([x, *states], [keras.layers.Dense(3)(y), *new])


class Function(tf.Module):
    """A GRU of one's own with its state as an argument."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        shapes = {"w": (FRAME, 3 * UNITS), "u": (UNITS, 3 * UNITS), "o": (UNITS, 3)}
        for name, shape in shapes.items():
            setattr(self, name, tf.Variable(rng.normal(0, 0.5, shape).astype(np.float32)))

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, FRAME), name="frame"), tf.TensorSpec((1, UNITS), name="state_0")
        ]
    )  # fmt: skip
    def step(self, frame, state_0):
        a, b = tf.split(frame @ self.w, 3, 1), tf.split(state_0 @ self.u, 3, 1)
        z, r = tf.sigmoid(a[0] + b[0]), tf.sigmoid(a[1] + b[1])
        h = z * state_0 + (1 - z) * tf.tanh(a[2] + r * b[2])
        return {"probabilities": tf.nn.softmax(h @ self.o), "state_0": h}


def write(
    name: str, converter: tf.lite.TFLiteConverter, shapes: tuple[tuple[int, ...], ...] = ()
) -> None:
    """Convert; to 8 bits with a representative dataset if input shapes are given."""
    converter.experimental_enable_resource_variables = True
    if shapes:
        rng = np.random.default_rng(1)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(40)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    foreign_file(name).write_bytes(converter.convert())


def main() -> None:
    keras.utils.set_random_seed(3)
    made: dict[str, Callable[[], keras.Model]] = {
        "stateful-lstm-loop": lambda: stateful("LSTM", False),
        "stateful-gru-unrolled": lambda: stateful("GRU", True),
        "fused-lstm": lambda: fused(1),
        "fused-lstm-open-time": lambda: fused(None),
        "fused-lstm-window": lambda: fused(20),
        "states-lstm": lambda: states_as_inputs(1),
        "states-lstm-open-batch": lambda: states_as_inputs(None),
        "states-two-grus": two_grus,
    }
    for name, make in made.items():
        write(name, Converter.from_keras_model(make()))
    frame, state = (1, 1, FRAME), (1, UNITS)
    write("stateful-lstm-int8", Converter.from_keras_model(stateful("LSTM", True)), (frame,))
    write("fused-lstm-int8", Converter.from_keras_model(fused(1)), (frame,))
    write(
        "states-lstm-int8", Converter.from_keras_model(states_as_inputs(1)), (frame, state, state)
    )
    with tempfile.TemporaryDirectory() as folder:
        module = Function()
        tf.saved_model.save(module, folder, signatures={"serving_default": module.step})
        write("function-gru", Converter.from_saved_model(folder))


if __name__ == "__main__":
    main()
