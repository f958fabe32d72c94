"""The layers of a network: normalization, noise, embedding, recurrence and the head for values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from models.cells import make_cell
from models.cells.cell import RecurrentCell


@keras.utils.register_keras_serializable(package="edgestep")
class Normalization(keras.layers.Layer):
    """(x - mean) / standard deviation per channel, with constants fitted on training data.

    ``scale`` and ``shift`` [channels] hold it as x * scale + shift, ready to be folded.
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        channels = (int(input_shape[-1]),)
        self.scale = self.add_weight(
            name="scale", shape=channels, initializer="ones", trainable=False
        )
        self.shift = self.add_weight(
            name="shift", shape=channels, initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def adapt(self, mean: NDArray[Any], deviation: NDArray[Any]) -> None:
        """Set the constants; a channel that never moves is only centred."""
        scale = 1 / np.where(deviation > 0, deviation, 1)
        self.scale.assign(scale)
        self.shift.assign(-mean * scale)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * self.scale + self.shift


@keras.utils.register_keras_serializable(package="edgestep")
class SensorNoise(keras.layers.Layer):
    """Training only: Gaussian noise on every value, and a Gaussian offset per channel that stays
    for a whole sequence, as between two microphones or two ways to wear a watch.

    Args:
        noise: standard deviation of the noise.
        offset: standard deviation of the offset.
    """

    def __init__(self, noise: float, offset: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = noise
        self.offset = offset

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training:
            return inputs
        shape = tf.shape(inputs)
        offset = tf.random.normal((shape[0], 1, shape[2]), stddev=self.offset)
        return inputs + tf.random.normal(shape, stddev=self.noise) + offset

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise": self.noise, "offset": self.offset}


@keras.utils.register_keras_serializable(package="edgestep")
class TokenEmbedding(keras.layers.Layer):
    """A learned vector per token: ids [batch, steps, 1] int32 -> [batch, steps, width].

    Args:
        input_dim: number of different tokens; ids are below it.
        width: of a vector.
    """

    def __init__(self, input_dim: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.width = width

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.table = self.add_weight(
            name="table", shape=(self.input_dim, self.width), initializer="uniform"
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table, inputs[..., 0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_dim": self.input_dim, "width": self.width}


@keras.utils.register_keras_serializable(package="edgestep")
class ValueHead(keras.layers.Dense):
    """A dense layer for values in units of their own: (x @ kernel + bias) * scale + shift.

    With the mean and the standard deviation of the wanted values as ``shift`` and ``scale``
    [outputs], kernel and bias have the size of any other layer's, so that one learning rate fits
    all. Both are constants, and a step graph has only the products in it.
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        super().build(input_shape)
        values = (self.units,)
        self.scale = self.add_weight(
            name="scale", shape=values, initializer="ones", trainable=False
        )
        self.shift = self.add_weight(
            name="shift", shape=values, initializer="zeros", trainable=False
        )

    def adapt(self, mean: NDArray[Any], deviation: NDArray[Any]) -> None:
        """Set the constants; a value that never changes keeps the scale 1."""
        self.scale.assign(np.where(deviation > 0, deviation, 1))
        self.shift.assign(mean)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias = self.kernel * self.scale, self.bias * self.scale + self.shift
        return tf.linalg.matmul(inputs, kernel) + bias


@keras.utils.register_keras_serializable(package="edgestep")
class Recurrence(keras.layers.Layer):
    """Runs a cell over sequences: [batch, steps, inputs] -> [batch, steps, H].

    Unlike ``tf_keras.layers.RNN`` it computes the input product of all steps at once, and what
    the cell derives from its weights once per sequence instead of once per step; and a cell that
    can do without the loop over time does.

    Args:
        cell, units, options: as :func:`models.cells.make_cell` takes them.
        residual: whether the inputs, which then have the width of the outputs, are added to the
            outputs (K. He et al., "Deep residual learning for image recognition", 2016).
        period: the cell is stepped at the steps 0, period, 2 * period..., and its output held in
            between (J. Koutnik et al., "A clockwork RNN", 2014).
    """

    def __init__(
        self,
        cell: str,
        units: int,
        options: dict[str, Any] | None = None,
        residual: bool = False,
        period: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cell_name = cell
        self.options = dict(options or {})
        self.residual = residual
        self.period = period
        self.cell: RecurrentCell = make_cell(cell, units, self.options)

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.inputs = int(input_shape[-1])
        with tf.name_scope(self.cell.name):
            self.cell.build((input_shape[0], input_shape[-1]))
        super().build(input_shape)

    def initial_states(self, batch: tf.Tensor | int) -> list[tf.Tensor]:
        """Give zeros for every state, [batch, *shape] each."""
        return [tf.zeros((batch, *shape)) for shape in self.cell.state_shapes]

    def step(
        self,
        value: tf.Tensor,
        states: tuple[tf.Tensor, ...],
        constants: tuple[tf.Tensor, ...],
        affine: tuple[tf.Tensor, tf.Tensor] | tuple[()] = (),
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Compute one time step: inputs [batch, inputs] and states -> output [batch, H] and new
        states.

        Args:
            constants: what the cell's ``begin`` gave.
            affine: scale and shift, [inputs] each, that the inputs still lack.
        """
        product = self.cell.input_product(value, *affine)
        output, new_states = self.cell.step(product, states, constants)
        if self.residual:
            output += value * affine[0] + affine[1] if affine else value
        return output, new_states

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        product = self.cell.input_product(inputs[:, :: self.period])
        outputs = self.cell.parallel(product)
        if outputs is None:
            outputs = self._step_by_step(product)
        if self.period > 1:
            outputs = tf.repeat(outputs, self.period, axis=1)[:, : tf.shape(inputs)[1]]
        return outputs + inputs if self.residual else outputs

    def _step_by_step(self, product: tf.Tensor) -> tf.Tensor:
        constants = self.cell.begin()

        def step(product: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            output, new_states = self.cell.step(product, tuple(states), constants)
            return output, list(new_states)

        _, outputs, _ = keras.backend.rnn(step, product, self.initial_states(tf.shape(product)[0]))
        return outputs

    def get_prunable_weights(self) -> list[tf.Variable]:
        return self.cell.get_prunable_weights()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cell": self.cell_name,
            "units": self.cell.units,
            "options": self.options,
            "residual": self.residual,
            "period": self.period,
        }
