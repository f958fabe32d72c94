"""A whole recurrent network: normalization, one or more recurrences, a head after every step."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorflow_model_optimization.sparsity.keras import PrunableLayer

from models.cells import make_cell
from models.cells.cell import RecurrentCell
from models.errors import ModelsError

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "network.weights.h5"


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

    def adapt(self, mean: np.ndarray, deviation: np.ndarray) -> None:
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

    def adapt(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Set the constants; a value that never changes keeps the scale 1."""
        self.scale.assign(np.where(deviation > 0, deviation, 1))
        self.shift.assign(mean)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias = self.kernel * self.scale, self.bias * self.scale + self.shift
        return tf.linalg.matmul(inputs, kernel) + bias


@keras.utils.register_keras_serializable(package="edgestep")
class Recurrence(keras.layers.Layer, PrunableLayer):
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
        """Zeros for every state, [batch, *shape] each."""
        return [tf.zeros((batch, *shape)) for shape in self.cell.state_shapes]

    def step(
        self,
        value: tf.Tensor,
        states: tuple[tf.Tensor, ...],
        constants: tuple[tf.Tensor, ...],
        affine: tuple[tf.Tensor, tf.Tensor] | tuple[()] = (),
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """One time step: inputs [batch, inputs] and states -> output [batch, H] and new states.

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


@dataclass(frozen=True)
class Architecture:
    """Everything that rebuilds a network but its weights.

    ``units`` has one entry per recurrence, the lowest first. With a ``vocabulary`` the inputs are
    token ids below it (``inputs`` is 1), and each stands for a learned vector of ``embedding``
    values. With ``residual`` every recurrence but the first adds what it reads to what it gives.
    With ``periods``, one per recurrence, the stack is hierarchical: each recurrence is stepped
    once in its period, which is a multiple of that below, and the head reads the outputs of all
    (S. El Hihi and Y. Bengio, "Hierarchical recurrent neural networks for long-term
    dependencies", 1996).
    With ``gives_values`` the head is a :class:`ValueHead`. ``input_noise`` and ``input_offset``
    (standard deviations on the normalized inputs, see :class:`SensorNoise`) and ``dropout``
    (share of each recurrence's outputs set to zero) act in training only.

    Raises:
        ModelsError: sizes that do not fit each other.
    """

    cell: str
    units: tuple[int, ...]
    inputs: int
    outputs: int
    options: dict[str, Any] = field(default_factory=dict)
    input_noise: float = 0.0
    input_offset: float = 0.0
    dropout: float = 0.0
    vocabulary: int = 0
    embedding: int = 0
    residual: bool = False
    gives_values: bool = False
    periods: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.vocabulary and (self.inputs != 1 or self.embedding < 1):
            raise ModelsError(
                f"a network of token ids has 1 input and an embedding of 1 or more values, not "
                f"{self.inputs} and {self.embedding}"
            )
        if self.embedding and not self.vocabulary:
            raise ModelsError("an embedding needs a vocabulary; this task has real-valued inputs")
        if self.vocabulary and (self.input_noise or self.input_offset):
            raise ModelsError("token ids take no noise; set input_noise and input_offset to 0")
        if self.residual and len(set(self.units)) > 1:
            raise ModelsError(f"residual recurrences must be of one size, not of {self.units}")
        if self.periods:
            self._check_periods()

    def _check_periods(self) -> None:
        if len(self.periods) != len(self.units) or self.residual:
            raise ModelsError(
                f"{len(self.units)} recurrences need as many periods and no residual, not "
                f"{self.periods}"
            )
        below = (1, *self.periods)
        nested = all(period % last == 0 for last, period in itertools.pairwise(below) if last > 0)
        if self.periods[0] != 1 or min(self.periods) < 1 or not nested:
            raise ModelsError(
                "periods begin with 1, and each is a multiple of the one before, not "
                f"{self.periods}"
            )

    def build(self) -> keras.Model:
        """A new network with random weights: [batch, steps, inputs] -> logits or values
        [batch, steps, outputs]. It is Sequential unless there are ``periods``."""
        bottom = self._bottom()
        blocks = [self._block(number) for number in range(len(self.units))]
        head = (ValueHead if self.gives_values else keras.layers.Dense)(self.outputs, name="head")
        if not self.periods:
            return keras.Sequential([*bottom, *itertools.chain(*blocks), head], name="network")
        value = bottom[0].output
        for layer in bottom[1:]:
            value = layer(value)
        outputs = []
        for block in blocks:
            for layer in block:
                value = layer(value)
            outputs.append(value)
        joined = keras.layers.Concatenate(name="all_rates")(outputs)
        return keras.Model(bottom[0].input, head(joined), name="network")

    def _bottom(self) -> list[keras.layers.Layer]:
        """The layers from the input to what the lowest recurrence reads."""
        if self.vocabulary:
            layers = [
                keras.layers.InputLayer((None, 1), dtype="int32"),
                TokenEmbedding(self.vocabulary, self.embedding, name="embedding"),
            ]
        else:
            layers = [
                keras.layers.InputLayer((None, self.inputs)),
                Normalization(name="normalization"),
            ]
        if self.input_noise or self.input_offset:
            layers.append(SensorNoise(self.input_noise, self.input_offset, name="sensor_noise"))
        return layers

    def _block(self, number: int) -> list[keras.layers.Layer]:
        """A recurrence and what belongs to it."""
        recurrence = Recurrence(
            self.cell,
            self.units[number],
            self.options,
            self.residual and number > 0,
            self.periods[number] if self.periods else 1,
            name=f"recurrence_{number}",
        )
        if not self.dropout:
            return [recurrence]
        return [recurrence, keras.layers.Dropout(self.dropout, name=f"dropout_{number}")]


def recurrences(network: keras.Model) -> list[Recurrence]:
    """The recurrent layers of a network, lowest first."""
    return [layer for layer in network.layers if isinstance(layer, Recurrence)]


def count_parameters(network: keras.Model) -> int:
    """Number of learned parameters (the normalization is not learned)."""
    return int(sum(np.prod(weight.shape) for weight in network.trainable_weights))


def check_fit(network: keras.Model, architecture: Architecture) -> None:
    """Raise ModelsError where a network is not one of this architecture's sizes."""
    units = tuple(layer.cell.units for layer in recurrences(network))
    inputs = int(network.input_shape[-1])
    if (units, inputs) != (architecture.units, architecture.inputs):
        raise ModelsError(
            f"the network has units {units} and {inputs} inputs, but its architecture says "
            f"{architecture.units} and {architecture.inputs}; give the two that belong together"
        )


def save_network(folder: Path, network: keras.Model, architecture: Architecture) -> None:
    """Write architecture and weights into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_weights(folder / WEIGHTS_FILE)
    (folder / ARCHITECTURE_FILE).write_text(json.dumps(asdict(architecture), indent=1))


def load_network(folder: Path) -> tuple[keras.Model, Architecture]:
    """Read what :func:`save_network` wrote; ModelsError where it is missing or damaged."""
    try:
        raw = json.loads((folder / ARCHITECTURE_FILE).read_text())
        architecture = Architecture(
            **{**raw, "units": tuple(raw["units"]), "periods": tuple(raw.get("periods", ()))}
        )
        network = architecture.build()
        network.load_weights(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelsError(
            f"{folder}: no trained network there ({error}); train it again"
        ) from error
    return network, architecture
