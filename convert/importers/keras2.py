"""Load models of tf_keras (Keras 2), whose own layers are stepped."""

from __future__ import annotations

from pathlib import Path

import tf_keras as keras

from convert.errors import SourceModelError
from convert.importers.imported import (
    ImportedModel,
    reshapes_of,
    take_weights,
    tokens_in_time,
)
from convert.importers.layer_list import relaxed
from convert.importers.loaded_model import Copies, import_loaded
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
    tokens = tokens_in_time(original.inputs, token_inputs(original))

    def copies(steps: int | None) -> Copies:
        config = {"class_name": type(original).__name__, "config": original.get_config()}
        free, freed = relaxed(config, tokens, reshapes_of(original), steps)
        with quiet():
            network = type(original).from_config(free["config"])
            take_weights(network, original)
        return Copies(network, network, freed)

    return import_loaded(original, original, tokens, framework, changed, copies)


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
