"""Build a user's Keras model in a process of its own, load weights into it, and save it whole.

It runs as a file: ``python keras_code_process.py SETTINGS.json``. It imports nothing of ours but
the file that finds the user's modules. The model is written as ``model.keras``, without the classes
of the user's own where what they compute is made of Keras' layers: their ``call`` runs once on
symbolic tensors, and leaves the layers within. A failure is one line in ``failure.txt``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

FAILURE_FILE, MODEL_FILE = "failure.txt", "model.keras"
CHECKPOINT_INDEX = ".index"
# Steps and sequences on which the model made of Keras' layers is held against the user's own.
STEPS, SEQUENCES = 7, 2
TOLERANCE = 1e-5


class ModelError(Exception):
    """What is wrong, in one line."""


def main(settings: dict[str, Any]) -> int:
    """Build the model and save it; return the exit code."""
    folder = Path(settings["folder"])
    os.dup2(2, 1)  # what the user's code prints is no output of ours
    try:
        _own_file(settings["imports"])._use_working_directory()
        made = _made(settings["source"])
        graph = _built(made, settings["shapes"])
        _load(made, settings["weights"])
        _plain(graph, made).save(folder / MODEL_FILE)
    except KeyboardInterrupt:
        return 130
    # The user's code may raise anything, SystemExit included.
    except BaseException as error:
        own_line = isinstance(error, ModelError)
        text = str(error) if own_line else f"{type(error).__name__}: {error}"
        (folder / FAILURE_FILE).write_text(" ".join(text.split())[:400], encoding="utf-8")
        return 1
    return 0


def _own_file(path: str) -> Any:
    """Import a file of ours by its path, whatever modules the user has."""
    spec = importlib.util.spec_from_file_location(f"edgestep_{Path(path).stem}", path)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _made(source: str) -> Any:
    """Call what ``module:function`` names; it is a function, a class, or a model."""
    module, _, name = source.partition(":")
    made: Any = importlib.import_module(module)
    for part in name.split("."):
        made = getattr(made, part)
    if not _is_model(made):
        made = made()
    if not _is_model(made):
        raise ModelError(f"the function gives {type(made).__name__}, not a model of Keras")
    return made


def _is_model(made: Any) -> bool:
    return hasattr(made, "load_weights") and hasattr(made, "layers") and not isinstance(made, type)


def _keras_of(model: Any) -> Any:
    """Return the Keras that a model is made of: its own module."""
    names = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    return importlib.import_module("tf_keras" if "tf_keras" in names else "keras")


def _built(model: Any, shapes: dict[str, Any]) -> Any:
    """Return a model's graph of layers, a Functional or Sequential model with known inputs.

    Args:
        shapes: shape of a frame and kind of numbers of each input of the data, by name.
    """
    keras = _keras_of(model)
    if type(model).__name__ == "Sequential" and not getattr(model, "inputs", None):
        _fed(keras, shapes, model)
        return model
    if getattr(model, "inputs", None) and _is_graph(model):
        return model
    # A class of the user's own: its ``call`` on symbolic inputs leaves a graph of layers.
    inputs = _fed(keras, shapes, model)
    given = inputs if len(inputs) > 1 else inputs[0]
    model(given)
    return keras.Model(inputs, model.call(given), name=model.name)


def _is_graph(model: Any) -> bool:
    return type(model).__name__ in ("Functional", "Sequential", "Model")


def _fed(keras: Any, shapes: dict[str, Any], model: Any) -> list[Any]:
    """Make symbolic inputs of the data's shapes, and call the model on them."""
    if not shapes:
        raise ModelError(
            "what the model takes is not known: give --data, or build it with an Input"
        )
    inputs = [
        keras.Input((None,), dtype="int32") if kind == "ids" else keras.Input((None, *frame))
        for frame, kind in shapes.values()
    ]
    model(inputs if len(inputs) > 1 else inputs[0])
    return inputs


def _load(model: Any, weights: str) -> None:
    """Load weights: HDF5 of either Keras, or a checkpoint of TensorFlow named by its index."""
    path = weights.removesuffix(CHECKPOINT_INDEX)
    try:
        if path != weights:
            _load_checkpoint(model, path)
        else:
            model.load_weights(weights)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights do not fit this model ({reason})") from error


def _load_checkpoint(model: Any, path: str) -> None:
    if _keras_of(model).__name__ == "keras":
        raise ModelError(
            "a checkpoint of TensorFlow holds weights of tf_keras, and the model is of Keras 3; "
            "set TF_USE_LEGACY_KERAS=1, or build it of tf_keras"
        )
    model.load_weights(path).assert_existing_objects_matched().expect_partial()


def _plain(model: Any, original: Any) -> Any:
    """Return a graph of layers with each layer of the user's own replaced by the layers within it.

    Args:
        original: the user's model itself, which has the same layers.

    Raises:
        ModelError: that computes something else, or cannot be done.
    """
    keras = _keras_of(model)
    own = [layer for layer in _graph(model).layers if not _is_keras(layer)]
    if own:
        try:
            plain = _rebuilt(keras, _graph(model))
        except Exception as error:
            raise _no_graph(own[0], error) from error
    else:
        plain = model
    if plain is not original:
        _compare(plain, original)
    return plain


def _graph(model: Any) -> Any:
    return getattr(model, "_functional", None) or model


def _is_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] in ("keras", "tf_keras")


def _no_graph(layer: Any, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:150]
    return ModelError(
        f"layer '{layer.name}' ({type(layer).__name__}) is code of the model's own that is not "
        f"made of Keras' layers alone ({reason}); build it of them, or of operators between tensors"
    )


def _rebuilt(keras: Any, model: Any) -> Any:
    """Go through a graph anew, and through ``call`` of the user's own layers."""
    values: dict[int, Any] = {id(tensor): tensor for tensor in model.inputs}

    def run(layer: Any, arguments: Iterable[Any], named: dict[str, Any]) -> Any:
        named = {key: item for key, item in named.items() if item is not None}
        if _is_keras(layer):
            return layer(*arguments, **named)
        with _constants(layer):
            return layer.call(*arguments, **named)

    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if getattr(node, "is_input", False):
                continue
            layer = getattr(node, "operation", None) or node.layer
            arguments, named = _arguments(node, lambda tensor: values[id(tensor)])
            outputs = _flat(run(layer, arguments, named))
            values.update(zip(map(id, _flat(node.outputs)), outputs, strict=True))
    outputs = [values[id(tensor)] for tensor in model.outputs]
    given = _structure(model, "outputs")
    ends: Any = outputs if given is None else dict(zip(sorted(given), outputs, strict=True))
    taken = _structure(model, "inputs")
    return keras.Model(model.inputs if taken is None else taken, ends, name=model.name)


def _structure(model: Any, side: str) -> dict[str, Any] | None:
    """Return the dict that a model takes or gives; None if that is no dict."""
    # Symbolic tensors of tf_keras have no truth value.
    for name in (f"_nested_{side}", f"_{side}_struct"):
        found = getattr(model, name, None)
        if isinstance(found, dict):
            return found
    return None


@contextmanager
def _constants(layer: Any) -> Iterator[None]:
    """Let a layer of the user's own compute with its weights as constants."""
    kept = {name: item for name, item in vars(layer).items() if "Variable" in type(item).__name__}
    vars(layer).update({name: np.asarray(item) for name, item in kept.items()})
    try:
        yield
    finally:
        vars(layer).update(kept)


def _arguments(node: Any, found: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call in a graph, with what was found for its tensors."""

    def mapped(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: mapped(value) for key, value in item.items()}
        if isinstance(item, list | tuple):
            return [mapped(value) for value in item]
        return found(item) if hasattr(item, "_keras_history") else item

    if hasattr(node, "call_args"):  # tf_keras
        return [mapped(item) for item in node.call_args], mapped(dict(node.call_kwargs))
    return [mapped(item) for item in node.arguments.args], mapped(dict(node.arguments.kwargs))


def _flat(nested: Any) -> list[Any]:
    if isinstance(nested, dict):
        nested = [nested[key] for key in sorted(nested)]
    if isinstance(nested, list | tuple):
        return [tensor for item in nested for tensor in _flat(item)]
    return [nested]


def _compare(plain: Any, original: Any) -> None:
    """Raise ModelError if a model made of Keras' layers computes something else."""
    generator = np.random.default_rng(0)
    values: list[Any] = []
    for tensor in plain.inputs:
        shape = [size or STEPS for size in tuple(tensor.shape)[1:]]
        if "int" in str(tensor.dtype):
            values.append(np.ones((SEQUENCES, *shape), np.int32))
        else:
            values.append(generator.normal(size=(SEQUENCES, *shape)).astype(np.float32))
    given = values if len(values) > 1 else values[0]
    if (taken := _structure(plain, "inputs")) is not None:
        given = dict(zip(sorted(taken), values, strict=True))
    pairs = zip(
        _flat(plain(given, training=False)), _flat(original(given, training=False)), strict=True
    )
    for number, (found, wanted) in enumerate(pairs):
        error = float(np.max(np.abs(np.asarray(found) - np.asarray(wanted))))
        if not error <= TOLERANCE * max(1.0, float(np.max(np.abs(np.asarray(wanted))))):
            raise ModelError(
                f"made of Keras' layers alone, the model's output {number} is off by {error:.1g}; "
                "its code decides by values or keeps something of its own"
            )


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
