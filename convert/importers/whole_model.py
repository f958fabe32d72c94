"""A loaded Keras model as a function of a whole window, without a loop over time.

What cannot be stepped is finite within a window: layers that read it backwards, attend to all of
it, or mix time and channels. Then the original's own layers compute it anew for each answer. Their
recurrences are unrolled, so that the graph has no control flow.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from convert.importers.imported import as_list, take_weights
from convert.layers.unrolled import unroll
from convert.step.step_graph import Kind, StepInput
from convert.step.whole_window import Unrolled, WholeModel
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from models.tensorflow_log import quiet


def whole_keras_model(original: Any, tokens: Collection[str]) -> WholeModel:
    """Describe a loaded model of tf_keras or of Keras 3.

    Args:
        tokens: names of the input layers whose ids an Embedding reads.
    """
    layers = list(original._flatten_layers(include_self=False))
    sizes = [layer.input_dim for layer in layers if type(layer).__name__.endswith("Embedding")]
    vocabulary = min(sizes, default=None)
    return WholeModel(
        inputs=tuple(
            _input(INPUT_NAME if position == 0 else None, tensor, tokens, vocabulary)
            for position, tensor in enumerate(original.inputs)
        ),
        # A Sequential model of Keras 3 has one output, and no names.
        outputs=(OUTPUT_NAME, *getattr(original, "output_names", ())[1:]),
        recurrences=sum(_recurrences(layer) for layer in layers),
        unrolled=lambda: _unrolled_model(original),
    )


def _input(
    name: str | None, tensor: Any, tokens: Collection[str], vocabulary: int | None
) -> StepInput:
    """Describe what one frame of an input is."""
    history = tensor._keras_history
    layer = (getattr(history, "operation", None) or history.layer).name
    name, shape = name or layer, tuple(tensor.shape)
    if layer in tokens:
        return StepInput(name, name, (1, 1), vocabulary, id_axis=len(shape) > 2)
    if len(shape) > 2:
        return StepInput(name, name, (1, *map(int, shape[2:])))
    return StepInput(name, name, (1, int(shape[-1])), kind=Kind.CONSTANT)


def _recurrences(layer: Any) -> int:
    """Count the cells that a layer runs over time."""
    return len(getattr(layer.cell, "cells", [None])) if hasattr(layer, "unroll") else 0


def _unrolled_model(original: Any) -> Unrolled:
    with quiet():
        model = type(original).from_config(_unrolled_config(original.get_config()))
        take_weights(model, original)
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "unroll") and hasattr(layer, "cell"):
            unroll(layer)

    def compute(values: list[tf.Tensor]) -> list[tf.Tensor]:
        return as_list(model(values if len(values) > 1 else values[0], training=False))

    # Keras 3 has variables of its own around those of TensorFlow.
    variables = [v if isinstance(v, tf.Variable) else v.value for v in model.variables]
    return Unrolled(compute, variables)


def _unrolled_config(config: Any) -> Any:
    """Return a configuration in which every recurrence is unrolled and keeps no state."""
    if isinstance(config, dict):
        changed = {key: _unrolled_config(value) for key, value in config.items()}
        if "unroll" in changed:
            changed |= {"unroll": True, "stateful": False}
        return changed
    if isinstance(config, list | tuple):
        return type(config)(_unrolled_config(item) for item in config)
    return config
