"""What an importer returns: a network to step, and the original to compare it with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from convert.errors import ConvertError, UnsupportedLayerError
from convert.step.keras_graph import Names, Pair, keras_step_graph
from convert.step.step_graph import StepGraph
from convert.step.whole_window import WholeModel
from models.layers import Recurrence
from models.network import count_parameters

# Takes the inputs of a batch of sequences in the step's order, each [batch, steps, *frame shape]
# float32, [batch, steps] int32 token ids, or [batch, channels] if it stays for a sequence. Gives
# the outputs in the network's order, each [batch, steps, outputs], or [batch, outputs] after the
# last step.
Reference = Callable[[list[NDArray[Any]]], list[NDArray[Any]]]


# What the outputs mean, by the activation of the layer that computes them.
MEANINGS = {"softmax": "probabilities", "sigmoid": "probabilities"}
VALUES = "values"


@dataclass(frozen=True)
class ImportedModel:
    """A trained model from elsewhere.

    Attributes:
        name: the model's own name.
        graph: one time step of the model, with the trained weights; None if it has none.
        reference: computes whole sequences with the framework that the model comes from.
        framework: its name and version, such as "Keras 3.15.1".
        cells: kind and units of each recurrent layer, lowest first.
        parameters: number of trained weights.
        output_meaning: what the first output is: "probabilities" or "values".
        changed: what differs from the file, in words.
        padding: marks the frames that the model skips as padding: an input, and the value of all
            its channels or the id of a padding token. () if the model skips none.
        window: steps of the windows that its input is fixed to, each begun with zero states. None
            if it takes sequences of any length, or keeps its state from call to call.
        understood: how inputs and outputs were understood, in words, where that is not plain.
        whole: the model as a function of its whole window; None if that is not known.
        refusal: why there is no step.
        told_by: what the reference computes, after "what".
    """

    name: str
    graph: StepGraph | None
    reference: Reference
    framework: str
    cells: tuple[tuple[str, int], ...]
    parameters: int
    output_meaning: str = VALUES
    changed: tuple[str, ...] = ()
    padding: tuple[tuple[str, float], ...] = ()
    window: int | None = None
    understood: str = ""
    whole: WholeModel | None = None
    refusal: ConvertError | None = None
    told_by: str = "the original does"

    @property
    def step_graph(self) -> StepGraph:
        """One time step; raises the refusal if there is none."""
        if self.graph is None:
            raise self.refusal or UnsupportedLayerError(f"{self.name} cannot be stepped")
        return self.graph


def imported_network(
    name: str,
    network: keras.Model,
    reference: Reference,
    framework: str,
    names: Names | None = None,
    pairs: Sequence[Pair] = (),
    **facts: Any,
) -> ImportedModel:
    """Describe a Sequential or Functional network of tf_keras layers with a free number of steps.

    Args:
        names: of its inputs and outputs; None for the network's own.
        pairs: its inputs and outputs that are states; then it has one step.
        facts: further attributes of the ImportedModel.

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
    """
    return ImportedModel(
        name,
        keras_step_graph(network, names, pairs),
        reference,
        framework,
        cells=_recurrences(network),
        parameters=count_parameters(network),
        output_meaning=_meaning(network),
        **facts,
    )


def as_list(values: Any) -> list[Any]:
    """Return a model's inputs or outputs as a list in its order, a dict's in key order."""
    if isinstance(values, dict):
        return list(values.values())
    return list(values) if isinstance(values, list | tuple) else [values]


def reference_of(model: Any, original: Any = None) -> Reference:
    """Wrap a loaded model of tf_keras or of Keras 3 as a reference.

    It is traced once, for any number of steps: layer by layer, Keras would go through all the steps
    of every call in Python. But a TimeDistributed of Keras 3 is not right for a number of steps
    that is only known when it runs: it maps its layer with a vectorized loop. And a recurrence that
    begins with numbers keeps their number of rows.

    Args:
        model: a copy for any number of steps.
        original: the model as loaded, which is called where the inputs have its shapes.
    """
    layers = list(model._flatten_layers())
    fixed = any(
        type(layer).__name__ == "TimeDistributed" or _begins_with_numbers(layer) for layer in layers
    )

    @functools.cache
    def traced(is_original: bool, *specs: tf.TensorSpec) -> Any:
        asked = original if is_original else model

        def computed(inputs: list[tf.Tensor]) -> list[tf.Tensor]:
            return list(tf.nest.flatten(asked(packed_inputs(asked, inputs), training=False)))

        return tf.function(computed, input_signature=[list(specs)], autograph=False)

    def compute(inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        is_original = original is not None and _fits(original, inputs)
        asked = original if is_original else model
        if fixed:
            given = asked(packed_inputs(asked, inputs), training=False)
            return unpacked_outputs(given)
        specs = map(_freed, asked.inputs, inputs)
        return [np.asarray(value) for value in traced(is_original, *specs)(inputs)]

    return compute


def _begins_with_numbers(layer: Any) -> bool:
    """Tell whether a recurrence is called with an initial state that is no layer's output."""
    if not hasattr(layer, "cell"):
        return False
    calls = [getattr(node, "arguments", None) for node in getattr(layer, "_inbound_nodes", ())]
    given = [call.kwargs.get("initial_state") for call in calls if call is not None]
    return any(
        part is not None and not hasattr(part, "_keras_history")
        for state in given
        for part in (state if isinstance(state, list | tuple) else [state])
    )


def _freed(symbolic: Any, values: NDArray[Any]) -> tf.TensorSpec:
    """Return the shape and dtype of a model's input, free where the model's own input is."""
    own = (None, *symbolic.shape[1:])
    shape = own if len(own) == values.ndim else values.shape
    return tf.TensorSpec(shape, values.dtype)


def _fits(model: Any, inputs: list[NDArray[Any]]) -> bool:
    """Tell whether inputs have the shapes that a model without kept states is built for."""
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        return False
    return all(
        values.ndim == len(tensor.shape)
        and all(
            size in (None, given) for size, given in zip(tensor.shape, values.shape, strict=True)
        )
        for tensor, values in zip(model.inputs, inputs, strict=True)
    )


def packed_inputs(model: Any, inputs: list[NDArray[Any]]) -> Any:
    """Put inputs, in the order of ``model.inputs``, into the structure that a model takes."""
    for name in ("_inputs_struct", "_nested_inputs"):
        structure = getattr(model, name, None)
        if structure is not None:
            return tf.nest.pack_sequence_as(structure, inputs)
    return inputs if len(inputs) > 1 else inputs[0]


def unpacked_outputs(given: Any) -> list[NDArray[Any]]:
    """Return what a model gives in the order of ``model.outputs``."""
    return [np.asarray(value) for value in tf.nest.flatten(given)]


def take_weights(model: Any, original: Any) -> None:
    """Give a model the weights of another model with the same layers, of tf_keras or Keras 3."""
    model.set_weights(original.get_weights())
    for layer in model._flatten_layers(include_self=False):
        # Only this call makes what an adapted Normalization computes with from its weights.
        if type(layer).__name__ == "Normalization" and hasattr(layer, "finalize_state"):
            layer.finalize_state()


def tokens_in_time(inputs: Sequence[Any], tokens: set[str]) -> set[str]:
    """Return the names of those token inputs whose second axis is time.

    One id beside a sequence, such as a site's of [batch, 1], is not: it stays for the sequence.

    Args:
        inputs: the symbolic inputs of a loaded model of tf_keras or Keras 3.
        tokens: names of the input layers that an Embedding reads.
    """
    sizes = {_input_layer(item).name: tuple(item.shape)[1:] for item in inputs}
    if not any(len(size) > 1 or (name in tokens and size != (1,)) for name, size in sizes.items()):
        return tokens
    return {name for name in tokens if sizes.get(name) != (1,)}


def _input_layer(tensor: Any) -> Any:
    history = tensor._keras_history
    return getattr(history, "operation", None) or history.layer


def window_of(model: Any, token_inputs: set[str]) -> int | None:
    """Return the number of steps that a loaded model of tf_keras or Keras 3 is fixed to.

    Args:
        token_inputs: names of the two-axis inputs whose second axis is time.
    """
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        return None
    lengths = []
    for tensor in model.inputs:
        if len(tensor.shape) >= 3 or _input_layer(tensor).name in token_inputs:
            lengths.append(tensor.shape[1])
    return max((int(length) for length in lengths if length), default=None)


def padding_of(network: keras.Model, names: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return the inputs whose frames are padding at some value, with that value.

    A mask of what is computed from an input, not of the input itself, is taken for one of the first
    input: at such values Keras skips no step that a stream has.

    Args:
        names: of the network's inputs, in its order.
    """
    found = {}
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Masking):
            found[names[_masked_input(network, layer)]] = float(layer.mask_value)
        if isinstance(layer, keras.layers.Embedding) and layer.mask_zero:
            found[names[_masked_input(network, layer)]] = 0.0
    return tuple(found.items())


def _masked_input(network: keras.Model, layer: Any) -> int:
    """Return the number of the network's input that a layer reads, 0 if it reads none."""
    places = {id(tensor): number for number, tensor in enumerate(network.inputs)}
    read = [tensor for node in layer._inbound_nodes for tensor in node.keras_inputs]
    return next((places[id(tensor)] for tensor in read if id(tensor) in places), 0)


def _meaning(network: keras.Model) -> str:
    """Say what the first output is: probabilities after a softmax or sigmoid, else values."""
    layer = getattr(getattr(network.outputs[0], "_keras_history", None), "layer", None)
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if isinstance(layer, keras.layers.Softmax):
        activation = "softmax"
    return MEANINGS.get(activation, VALUES)


def _recurrences(network: keras.Model) -> tuple[tuple[str, int], ...]:
    """List the kind and width of each recurrent layer, lowest first."""
    found: list[tuple[str, int]] = []
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, Recurrence):
            found.append((layer.cell_name, layer.cell.units))
        elif isinstance(layer, keras.layers.RNN):
            cells = getattr(layer.cell, "cells", [layer.cell])
            found += [(type(c).__name__.removesuffix("Cell").lower(), _width(c)) for c in cells]
    return tuple(found)


def _width(cell: Any) -> int:
    """Return a cell's units, or the filters of one with convolutions."""
    return int(cell.units if hasattr(cell, "units") else cell.filters)


def reshapes_of(model: Any) -> dict[str, tuple[int | None, ...]]:
    """Return the input shape of each Reshape layer of a loaded model, by name."""
    found = {}
    for layer in model._flatten_layers(include_self=False):
        nodes = getattr(layer, "_inbound_nodes", ())
        if type(layer).__name__ == "Reshape" and nodes:
            tf_keras_own = hasattr(nodes[0], "keras_inputs")
            given = nodes[0].keras_inputs if tf_keras_own else nodes[0].input_tensors
            found[layer.name] = tuple(given[0].shape)
    return found
