"""A whole recurrent network: normalization, one or more recurrences, a head after every step."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from models.errors import ModelsError
from models.layers import Normalization, Recurrence, SensorNoise, TokenEmbedding, ValueHead

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "network.weights.h5"


@dataclass(frozen=True)
class Architecture:
    """All that is needed to rebuild a network, except its weights.

    Args:
        cell: name in :data:`models.cells.CELLS`.
        units: hidden units of each recurrence, the lowest first.
        inputs: channels of a frame; 1 with a ``vocabulary``.
        outputs: classes or values that the head gives after every step.
        options: of the cell.
        input_noise, input_offset: standard deviations on the normalized inputs, in training only
            (:class:`models.layers.SensorNoise`).
        dropout: share of each recurrence's outputs that are set to zero, in training only.
        vocabulary: number of token ids where the inputs are such, else 0.
        embedding: width of the learned vector that each token id stands for.
        residual: whether every recurrence but the first adds its input to its output.
        gives_values: whether the head is a :class:`models.layers.ValueHead`.
        periods: one per recurrence makes the stack hierarchical: a recurrence is stepped once in
            its period, a multiple of the period below it, and the head reads the outputs of all
            (S. El Hihi and Y. Bengio, "Hierarchical recurrent neural networks for long-term
            dependencies", 1996).

    Raises:
        ModelsError: sizes do not fit each other.

    Example:
        >>> network = Architecture("gru", units=(16, 8), inputs=3, outputs=2).build()
        >>> network.input_shape, network.output_shape
        ((None, None, 3), (None, None, 2))
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

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Architecture:
        """Read an architecture from JSON, as ``dataclasses.asdict`` makes it.

        Raises:
            KeyError, TypeError: an entry is missing, unknown or malformed.
        """
        units, periods = tuple(facts["units"]), tuple(facts.get("periods", ()))
        return cls(**{**facts, "units": units, "periods": periods})

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
        """Make a new network with random weights: [batch, steps, inputs] -> logits or values
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
    """Give the recurrent layers of a network, lowest first."""
    return [layer for layer in network.layers if isinstance(layer, Recurrence)]


def count_parameters(network: keras.Model) -> int:
    """Count the learned parameters (the normalization is not learned)."""
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
        architecture = Architecture.from_facts(raw)
        network = architecture.build()
        network.load_weights(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelsError(
            f"{folder}: no trained network there ({error}); train it again"
        ) from error
    return network, architecture
