"""How each kind of layer computes one time step: a function per kind, listed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers import pointwise, recurrent
from convert.layers.rule import StepRule
from models.network import Normalization, Recurrence, SensorNoise, TokenEmbedding

# By class; a layer is looked up by its class and then by its bases. Each function takes the layer
# and the node of the graph at which it is called, and refuses what cannot be stepped.
RULES: dict[type, Callable[[Any, Any], StepRule]] = {
    Recurrence: recurrent.recurrence,
    Normalization: pointwise.normalization,
    TokenEmbedding: pointwise.token_embedding,
    SensorNoise: pointwise.removed,
    keras.layers.Activation: pointwise.same,
    keras.layers.Add: pointwise.add,
    keras.layers.Dense: pointwise.same,
    keras.layers.Dropout: pointwise.removed,
}


def step_rule(layer: keras.layers.Layer, node: Any) -> StepRule:
    """The rule by which a layer is stepped.

    Raises:
        UnsupportedLayerError: there is none for this kind of layer, or it refuses this one.
    """
    for kind in type(layer).__mro__:
        if kind in RULES:
            return RULES[kind](layer, node)
    known = ", ".join(sorted(kind.__name__ for kind in RULES))
    raise UnsupportedLayerError(
        f"layer '{layer.name}' ({type(layer).__name__}) cannot be stepped; steppable are {known}"
    )
