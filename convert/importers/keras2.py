"""Load models of tf_keras (Keras 2), whose own layers are stepped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tf_keras as keras

from convert.errors import SourceModelError, UnsupportedLayerError
from convert.importers.carried_states import carried_states, stepped_reference
from convert.importers.imported import (
    ImportedModel,
    imported_network,
    padding_of,
    reference_of,
    reshapes_of,
    take_weights,
    window_of,
)
from convert.importers.layer_list import relaxed
from convert.importers.naming import names_of
from convert.importers.whole_model import whole_keras_model, without_step
from convert.step.keras_graph import EMBEDDINGS
from models.tensorflow_log import quiet


def load(path: Path, version: str, changed: tuple[str, ...]) -> ImportedModel:
    """Load a checked file; what tf_keras raises is passed on.

    Args:
        changed: what the copy computes differently from the user's file, in words.
    """
    with quiet():
        original = keras.models.load_model(path, compile=False, safe_mode=True)
    return imported(original, f"tf_keras {version}", changed)


def imported(original: keras.Model, framework: str, changed: tuple[str, ...] = ()) -> ImportedModel:
    """Import a loaded model, with a free number of steps."""
    if not original.inputs:
        raise SourceModelError("its input shape is not known; add an Input layer, save again")
    tokens = token_inputs(original)
    names = names_of(original)
    pairs = carried_states(original, names)
    window = None if pairs else window_of(original, tokens)
    facts: dict[str, Any] = {"framework": framework, "window": window}
    whole = whole_keras_model(original, tokens, names)
    try:
        network, freed = _of_any_length(original, tokens, 1 if pairs else None)
        made = stepped_reference(original, pairs) if pairs else reference_of(network, original)
        return imported_network(
            name=original.name,
            network=network,
            reference=made,
            names=names,
            pairs=pairs,
            changed=(*changed, *freed),
            padding=padding_of(network),
            whole=None if pairs else whole,
            **facts,
        )
    except (UnsupportedLayerError, ValueError) as error:
        return without_step(original, whole, error, changed=changed, **facts)


def _of_any_length(
    original: keras.Model, tokens: set[str], steps: int | None
) -> tuple[keras.Model, list[str]]:
    """Copy a model with a free number of steps, or with ``steps``; return also the change."""
    config = {"class_name": type(original).__name__, "config": original.get_config()}
    free, freed = relaxed(config, tokens, reshapes_of(original), steps)
    with quiet():
        network = type(original).from_config(free["config"])
        take_weights(network, original)
    return network, freed


def token_inputs(network: keras.Model) -> set[str]:
    """Return the names of the input layers that an Embedding reads."""
    found = set()
    for nodes in network._nodes_by_depth.values():
        for node in nodes:
            if isinstance(node.layer, EMBEDDINGS):
                found |= {tensor._keras_history.layer.name for tensor in node.keras_inputs}
    # In a Sequential model's list the first layer has the shape.
    first = network.layers[0] if network.layers else None
    return found | ({first.name} if isinstance(first, EMBEDDINGS) else set())
