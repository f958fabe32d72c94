"""Import a model that either Keras has loaded: what both ways have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tf_keras

from convert.errors import UnsupportedLayerError
from convert.importers.carried_states import carried_states, stepped_reference
from convert.importers.imported import (
    ImportedModel,
    imported_network,
    padding_of,
    reference_of,
    window_of,
)
from convert.importers.layer_list import OWN_SHAPES
from convert.importers.naming import names_of
from convert.importers.whole_model import whole_keras_model, without_step


class Copies(NamedTuple):
    """Copies of a model with another number of steps.

    Attributes:
        model: in the Keras that loaded it, to compute with.
        network: of tf_keras layers, to step.
        freed: what is different from the original, in words.
    """

    model: Any
    network: tf_keras.Model
    freed: Sequence[str]


def import_loaded(
    original: Any,
    graph: Any,
    tokens: set[str],
    framework: str,
    changed: tuple[str, ...],
    copies: Callable[[int | None], Copies],
) -> ImportedModel:
    """Import a loaded model, with a free number of steps or, if it takes its states, one step.

    Args:
        original: as loaded; it is the reference.
        graph: the Functional model behind it.
        tokens: names of the input layers that an Embedding reads.
        changed: what it computes differently from the user's file, in words.
        copies: makes copies with a number of steps; None stands for any.
    """
    names = names_of(graph)
    pairs = carried_states(graph, names)
    whole = None if pairs else whole_keras_model(original, tokens, names)
    facts: dict[str, Any] = {
        "framework": framework,
        "window": None if pairs else window_of(original, tokens),
    }

    def stepped(steps: int | None) -> ImportedModel:
        model, network, freed = copies(steps)
        made = stepped_reference(original, pairs) if pairs else reference_of(model, original)
        return imported_network(
            name=original.name,
            network=network,
            reference=made,
            names=names,
            pairs=pairs,
            changed=(*changed, *freed),
            padding=padding_of(network, names.inputs),
            whole=whole,
            **facts,
        )

    try:
        return stepped(1 if pairs else None)
    except (UnsupportedLayerError, ValueError) as error:
        if pairs and _takes_whole_frames(graph):
            return stepped(OWN_SHAPES)
        return without_step(original, whole, error, changed=changed, **facts)


def _takes_whole_frames(graph: Any) -> bool:
    """Tell whether every axis of a model's inputs but the batch may be one of a frame."""
    return all(None not in tuple(tensor.shape)[1:] for tensor in graph.inputs)
