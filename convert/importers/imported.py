"""What an importer gives: a network to be stepped, and the original to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

# Inputs of a batch of sequences in the network's order, each [batch, steps, channels] float32,
# [batch, steps] int32 token ids, or [batch, channels] where it stays for a sequence -> outputs in
# the network's order, each [batch, steps, outputs], or [batch, outputs] after the last step.
Reference = Callable[[list[NDArray[Any]]], list[NDArray[Any]]]


@dataclass(frozen=True)
class ImportedModel:
    """A trained model from elsewhere.

    Attributes:
        name: the model's own.
        network: of tf_keras layers, Sequential or Functional, with the trained weights and a free
            number of steps; what :class:`convert.step.step_module.StepModule` steps.
        reference: computes whole sequences with the framework that the model comes from.
        framework: with its version, "Keras 3.15.1".
        changed: what differs from the file, for people.
        padding: the frames that the model skips as padding: the value that all channels of such a
            frame have, the id of a padding token, or None where it skips none.
        window: steps of the windows that its input is fixed to, each begun with zero states; None
            where it takes sequences of any length, or keeps its state from call to call.
    """

    name: str
    network: keras.Model
    reference: Reference
    framework: str
    changed: tuple[str, ...] = ()
    padding: float | None = None
    window: int | None = None


def as_list(values: Any) -> list[Any]:
    """What a model takes or gives, as a list in its order; dicts by their keys' order."""
    if isinstance(values, dict):
        return list(values.values())
    return list(values) if isinstance(values, list | tuple) else [values]


def reference_of(model: Any) -> Reference:
    """The computation of a loaded model of tf_keras or of Keras 3."""

    def compute(inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        given = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        return [np.asarray(value) for value in as_list(given)]

    return compute


def take_weights(model: Any, original: Any) -> None:
    """Give a model the weights of another with the same layers, of tf_keras or of Keras 3."""
    model.set_weights(original.get_weights())
    for layer in model._flatten_layers(include_self=False):
        # What an adapted Normalization computes with is made of its weights on this call alone.
        if type(layer).__name__ == "Normalization" and hasattr(layer, "finalize_state"):
            layer.finalize_state()


def window_of(model: Any, token_inputs: set[str]) -> int | None:
    """The number of steps that a loaded model of tf_keras or Keras 3 is fixed to.

    Args:
        token_inputs: names of the two-axis inputs whose second axis is time.
    """
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        return None
    lengths = []
    for tensor in model.inputs:
        history = tensor._keras_history
        layer = getattr(history, "operation", None) or history.layer
        if len(tensor.shape) == 3 or layer.name in token_inputs:
            lengths.append(tensor.shape[1])
    return max((int(length) for length in lengths if length), default=None)


def padding_of(network: keras.Model) -> float | None:
    """The padding value of the network's first layer that masks; None where none does."""
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Masking):
            return float(layer.mask_value)
        if isinstance(layer, keras.layers.Embedding) and layer.mask_zero:
            return 0.0
    return None
