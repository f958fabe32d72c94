"""A loaded Keras model as a function of a whole window, without a loop over time.

What cannot be stepped is finite within a window: layers that read it backwards, attend to all of
it, or mix time and channels. Then the original's own layers compute it anew for each answer. Their
recurrences are unrolled, so that the graph has no control flow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from convert.errors import ConvertError, UnsupportedLayerError
from convert.importers.imported import (
    MEANINGS,
    VALUES,
    ImportedModel,
    as_list,
    reference_of,
    take_weights,
)
from convert.layers.unrolled import unroll
from convert.step.keras_graph import Names
from convert.step.step_graph import Kind, StepInput
from convert.step.whole_window import Unrolled, WholeModel
from device_runner.errors import one_line
from models.tensorflow_log import quiet


def whole_keras_model(original: Any, tokens: Collection[str], names: Names) -> WholeModel | None:
    """Describe a loaded model of tf_keras or of Keras 3; None if it cannot be computed alone.

    That is if its frames have no fixed shape, or a layer runs along the batch (time_major).

    Args:
        tokens: names of the input layers whose ids an Embedding reads.
        names: of its inputs and outputs.
    """
    if not original.inputs or any(None in tuple(item.shape)[2:] for item in original.inputs):
        return None
    layers = list(original._flatten_layers(include_self=False))
    if any(getattr(layer, "time_major", False) for layer in layers):
        return None
    sizes = [layer.input_dim for layer in layers if type(layer).__name__.endswith("Embedding")]
    vocabulary = min(sizes, default=None)
    lookups = [_lookup(original, tensor) for tensor in original.inputs]
    return WholeModel(
        inputs=tuple(
            _input(
                name,
                tensor,
                tokens,
                vocabulary if call is None else _layer_of(call).input_dim,
                call is not None,
            )
            for name, tensor, call in zip(names.inputs, original.inputs, lookups, strict=True)
        ),
        outputs=names.outputs,
        recurrences=sum(_recurrences(layer) for layer in layers),
        unrolled=lambda: _unrolled_model(original),
        tables={
            name: np.asarray(_layer_of(call).get_weights()[0])
            for name, call in zip(names.inputs, lookups, strict=True)
            if call is not None
        },
    )


def _lookup(model: Any, tensor: Any) -> Any:
    """Return the call of the Embedding that alone reads an input, one id a step; None if there is
    none."""
    graph = getattr(model, "_functional", None) or model
    calls = [
        node
        for nodes in getattr(graph, "_nodes_by_depth", {}).values()
        for node in nodes
        if any(read is tensor for read in _read(node))
    ]
    if len(calls) != 1 or len(tensor.shape) != 2:
        return None
    layer = _layer_of(calls[0])
    masks = getattr(layer, "mask_zero", False)
    return calls[0] if type(layer).__name__ == "Embedding" and not masks else None


def _layer_of(node: Any) -> Any:
    return node.layer if hasattr(node, "layer") else node.operation


def _read(node: Any) -> list[Any]:
    """List the tensors that a call of tf_keras or Keras 3 reads."""
    if hasattr(node, "keras_inputs"):
        return list(node.keras_inputs)
    return list(getattr(node, "input_tensors", ()))


def _input(
    name: str, tensor: Any, tokens: Collection[str], vocabulary: int | None, has_table: bool
) -> StepInput:
    """Describe what one frame of an input is; if it ``has_table``, an Embedding reads its ids."""
    history = tensor._keras_history
    layer = (getattr(history, "operation", None) or history.layer).name
    shape = tuple(tensor.shape)
    if layer in tokens:
        return StepInput(name, name, (1, 1), vocabulary, id_axis=len(shape) > 2)
    if len(shape) > 2:
        return StepInput(name, name, (1, *map(int, shape[2:])))
    if has_table:
        return StepInput(name, name, (1, 1), vocabulary, kind=Kind.CONSTANT)
    return StepInput(name, name, (1, int(shape[-1] or 1)), kind=Kind.CONSTANT)


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
    # Keras 3 has variables of its own around those of TensorFlow.
    variables = [v if isinstance(v, tf.Variable) else v.value for v in model.variables]
    lookups = [_lookup(model, tensor) for tensor in model.inputs]
    if any(call is not None for call in lookups):
        # What follows the lookups, which the step does itself.
        pairs = zip(model.inputs, lookups, strict=True)
        given = [tensor if call is None else as_list(call.outputs)[0] for tensor, call in pairs]
        functional = _functional(model)
        model = functional(given, list(model.outputs))

    def compute(values: list[tf.Tensor]) -> list[tf.Tensor]:
        return as_list(model(values if len(values) > 1 else values[0], training=False))

    return Unrolled(compute, variables)


def _functional(model: Any) -> Any:
    """Return the class of graphs of layers in the Keras that a model is of."""
    if isinstance(model, tf_keras.Model):
        return tf_keras.Model
    import keras

    return keras.Model


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


def without_step(
    original: Any, whole: WholeModel | None, error: Exception, framework: str, **facts: Any
) -> ImportedModel:
    """Import a model that cannot be stepped, but computed over a window.

    Args:
        original: a loaded model of tf_keras or of Keras 3; it is the reference.
        error: why it cannot be stepped; raised again if ``whole`` is None.
        facts: further attributes of the ImportedModel.
    """
    if whole is None:
        raise error
    refusal = (
        error
        if isinstance(error, ConvertError)
        else UnsupportedLayerError(
            f"its layers need the number of steps that they were saved with ({one_line(error)})"
        )
    )
    output = original.outputs[0]._keras_history
    layer = getattr(output, "operation", None) or output.layer
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if type(layer).__name__ == "Softmax":
        activation = "softmax"
    return ImportedModel(
        name=original.name,
        graph=None,
        reference=reference_of(original),
        framework=framework,
        cells=tuple(_cells(original)),
        parameters=int(original.count_params()),
        output_meaning=MEANINGS.get(activation, VALUES),
        whole=whole,
        refusal=refusal,
        **facts,
    )


def _cells(original: Any) -> Iterator[tuple[str, int]]:
    """List the kind and width of each cell that runs over time."""
    for layer in original._flatten_layers(include_self=False):
        if hasattr(layer, "unroll") and hasattr(layer, "cell"):
            for cell in getattr(layer.cell, "cells", [layer.cell]):
                kind = type(cell).__name__.removesuffix("Cell").lower()
                yield kind, int(getattr(cell, "units", 0) or getattr(cell, "filters", 0))
