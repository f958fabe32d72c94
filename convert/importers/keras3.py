"""Load models of Keras 3: rebuild them of tf_keras layers, and keep Keras 3 as the reference."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.imported import (
    ImportedModel,
    as_list,
    reshapes_of,
    take_weights,
    tokens_in_time,
)
from convert.importers.layer_list import KERAS_CELLS, KERAS_LAYERS, relaxed
from convert.importers.loaded_model import Copies, import_loaded
from convert.layers import refusal
from convert.layers.activations import hard_sigmoid_3, hard_silu
from convert.layers.operation_call import Slot, TensorOperation, named_arguments, with_slots
from convert.layers.operations import IN_KERAS, unknown_operation
from models.tensorflow_log import quiet

# Activations that Keras 3 computes differently from tf_keras, or that tf_keras lacks.
ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "hard_sigmoid": hard_sigmoid_3,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "leaky_relu": tf.nn.leaky_relu,
    "log_softmax": tf.nn.log_softmax,
    "relu6": tf.nn.relu6,
    "silu": tf.nn.silu,
}
# Names of arguments that Keras 3 renamed, by class.
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
DROPPED = ("initializer", "regularizer", "constraint")


def load(path: Path, version: str, changed: tuple[str, ...]) -> ImportedModel:
    """Load a checked file; what Keras raises is passed on.

    Args:
        changed: what the copy computes differently from the user's file, in words.
    """
    try:
        import keras
    except ImportError as error:
        raise SourceModelError(
            f"this is a model of Keras 3, which is not usable ({error}); "
            "install it with 'pip install keras>=3'"
        ) from error
    with quiet():
        original = keras.saving.load_model(path, compile=False, safe_mode=True)
        graph = _graph(original)
        tokens = tokens_in_time(graph.inputs, _token_inputs(original))

    def copies(steps: int | None) -> Copies:
        with quiet():
            own = {"class_name": type(original).__name__, "config": original.get_config()}
            free, freed = relaxed(own, tokens, reshapes_of(original), steps)
            model = type(original).from_config(free["config"])
            take_weights(model, original)
            return Copies(model, _rebuilt(model), freed)

    framework = f"Keras {keras.__version__}"
    return import_loaded(original, graph, tokens, framework, changed, copies)


def _graph(model: Any) -> Any:
    """Return the Functional model behind a model."""
    functional = getattr(model, "_functional", None) if _kind(model) == "Sequential" else model
    if functional is None or not hasattr(functional, "_nodes_by_depth"):
        raise SourceModelError("its input shape is not known; add an Input layer and save again")
    return functional


def _token_inputs(model: Any) -> set[str]:
    """Return the names of the input layers that an Embedding reads."""
    return {
        tensor._keras_history.operation.name
        for nodes in _graph(model)._nodes_by_depth.values()
        for node in nodes
        if _kind(node.operation) == "Embedding"
        for tensor in node.input_tensors
    }


def _kind(operation: Any) -> str:
    return type(operation).__name__


def _rebuilt(model: Any) -> tf_keras.Model:
    """Rebuild a model of tf_keras layers, with its weights."""
    functional = _graph(model)
    values: dict[int, Any] = {}
    inputs = []
    for tensor in functional.inputs:
        layer = tensor._keras_history.operation
        made = tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=layer.name)
        values[id(tensor)] = made
        inputs.append(made)
    layers: dict[int, Any] = {}

    def value(tensor: Any) -> Any:
        if id(tensor) not in values:
            history = tensor._keras_history
            node = history.operation._inbound_nodes[history.node_index]
            _call(node)
        return values[id(tensor)]

    def _call(node: Any) -> None:
        operation = node.operation
        if id(operation) not in layers:
            layers[id(operation)] = _layer(operation, node)
        layer = layers[id(operation)]
        results = _called(layer, node, value)
        copy = getattr(operation, "get_weights", None)
        # The layers of a network within have theirs already.
        whole = isinstance(getattr(layer, "layer", layer), tf_keras.Model)
        if copy and not whole and not isinstance(layer, tf_keras.layers.Normalization):
            weights = copy()
            if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
                raise UnsupportedLayerError(
                    f"layer '{operation.name}' ({_kind(operation)}) has weights that the "
                    "tf_keras layer of that name does not have"
                )
            layer.set_weights(weights)
        outputs = _tensors(node.outputs)
        flat = tf.nest.flatten(as_list(results))
        if len(flat) != len(outputs):
            raise UnsupportedLayerError(
                f"layer '{operation.name}' ({_kind(operation)}) gives {len(outputs)} outputs in "
                f"Keras 3 and {len(flat)} in tf_keras"
            )
        values.update(zip(map(id, outputs), flat, strict=True))

    outputs = [value(tensor) for tensor in functional.outputs]
    return tf_keras.Model(inputs, outputs, name=model.name)


def _called(layer: Any, node: Any, value: Callable[[Any], Any]) -> Any:
    """Call a rebuilt layer as the original is called at a node.

    Args:
        value: finds what was made of a tensor of the original.
    """
    given, named = node.arguments.args, _named(node)
    if isinstance(layer, TensorOperation | tf_keras.Model):
        values = [value(tensor) for tensor in _tensors([given, named])]
        return layer(values if len(values) > 1 else values[0])

    def rebuilt(item: Any) -> Any:
        if isinstance(item, list | tuple):
            return [rebuilt(one) for one in item]
        return value(item) if hasattr(item, "_keras_history") else item

    return layer(*map(rebuilt, given), **{key: rebuilt(item) for key, item in named.items()})


def _named(node: Any) -> dict[str, Any]:
    """Return a call's keyword arguments that matter in a step; it has no masks."""
    named = dict(node.arguments.kwargs)
    found = {key: item for key, item in named.items() if key != "mask" and _tensors(item)}
    # Numbers that a recurrence begins with.
    if named.get("initial_state") is not None and "initial_state" not in found:
        numbers = as_list(named["initial_state"])
        found["initial_state"] = [tf.constant(np.asarray(one), tf.float32) for one in numbers]
    return found


def _operation(operation: Any, node: Any) -> TensorOperation:
    """Describe an operation of keras.ops, called once."""
    tensors = _tensors([node.arguments.args, _named(node)])
    places = {id(tensor): number for number, tensor in reversed(list(enumerate(tensors)))}

    def slot(item: Any) -> Slot | None:
        return Slot(places[id(item)]) if id(item) in places else None

    arguments = named_arguments(operation.call, node.arguments.args, node.arguments.kwargs)
    options = {key: item for key, item in vars(operation).items() if key[0] != "_"}
    options.pop("name", None)
    outputs = [tuple(tensor.shape) for tensor in _tensors(node.outputs)]
    held = with_slots({**arguments, **options}, slot)
    return TensorOperation(operation.name, _kind(operation), held, outputs)


def _tensors(nested: Any) -> list[Any]:
    """List all symbolic tensors in arguments, in order."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, list | tuple):
        return [tensor for item in nested for tensor in _tensors(item)]
    return [nested] if hasattr(nested, "_keras_history") else []


def _layer(operation: Any, node: Any = None) -> Any:
    """Make the tf_keras layer that computes an operation of Keras 3, without its weights.

    Args:
        node: where it is called; None for a layer within a wrapper.
    """
    import keras

    kind = _kind(operation)
    if isinstance(operation, keras.Model):
        return _rebuilt(operation)
    if not isinstance(operation, keras.Layer):
        if kind not in IN_KERAS:
            raise unknown_operation(operation.name, f"keras.ops {kind}")
        return _operation(operation, node)
    if kind not in KERAS_LAYERS | KERAS_CELLS or not hasattr(tf_keras.layers, kind):
        raise refusal(operation.name, kind)
    made = getattr(tf_keras.layers, kind)
    config = operation.get_config()
    if config.pop("rms_scaling", False):
        raise UnsupportedLayerError(
            f"layer '{operation.name}' (LayerNormalization) has rms_scaling; train it without"
        )
    if kind == "Normalization":
        mean, variance = (np.array(item) for item in (operation.mean, operation.variance))
        config |= {"mean": mean.reshape(-1), "variance": variance.reshape(-1)}
    # A wrapper holds a layer, or cells.
    if "layer" in config:
        both = hasattr(operation, "forward_layer")
        config["layer"] = _layer(operation.forward_layer if both else operation.layer)
        if both:
            config["backward_layer"] = _layer(operation.backward_layer)
    if "cell" in config:
        config["cell"] = _layer(operation.cell)
    if "cells" in config:
        config["cells"] = [_layer(cell) for cell in operation.cells]
    names = RENAMED.get(kind, {})
    known = _arguments(made)
    chosen = {}
    for key, item in config.items():
        key = names.get(key, key)
        if key not in known or key == "dtype" or key.endswith(DROPPED):
            continue
        chosen[key] = _activation(item, operation) if key.endswith("activation") else item
    return made(**chosen)


def _arguments(kind: type) -> set[str]:
    """Return the names of the arguments that a layer's class and its bases take."""
    found = {"name"}
    for base in kind.__mro__[:-1]:
        found |= set(inspect.signature(vars(base).get("__init__", object.__init__)).parameters)
    return found


def _activation(name: Any, operation: Any) -> Any:
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    try:
        return tf_keras.activations.get(name)
    except (ValueError, TypeError) as error:
        raise UnsupportedLayerError(
            f"layer '{operation.name}' ({_kind(operation)}) has the activation {str(name)[:60]!r}, "
            "which is not known here; use relu, tanh, sigmoid or another of tf_keras'"
        ) from error
