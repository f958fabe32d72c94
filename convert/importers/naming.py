"""Name a step's inputs and outputs as the model does.

A name that the user chose is kept. Where Keras made one up (``input_1``, ``dense_3``), the first
input is x and the first output y.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from convert.step.keras_graph import Names
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, RESERVED_NAMES

# How Keras names inputs that have no name.
_AUTOMATIC_INPUT = re.compile(r"(input|input_layer|keras_tensor)(_\d+)?|.*_input")


def names_of(model: Any) -> Names:
    """Find the names that a loaded model of tf_keras or of Keras 3 gives."""
    taken: set[str] = set(RESERVED_NAMES)
    inputs = _structure(model, "inputs", model.inputs)
    outputs = _structure(model, "outputs", model.outputs)
    layers = [_layer(tensor).name for tensor in model.inputs]
    own = [None if _AUTOMATIC_INPUT.fullmatch(name) else str(name) for name in layers]
    chosen: Sequence[str | None] = inputs or own
    given = _distinct(chosen, INPUT_NAME, taken)
    ends: Sequence[str | None] = outputs or [_chosen_output(one) for one in model.outputs]
    return Names(given, _distinct(ends, OUTPUT_NAME, taken))


def _structure(model: Any, side: str, tensors: Sequence[Any]) -> list[str]:
    """Return the keys of a dict that the model takes or gives, in Keras' order; [] if none."""
    held = getattr(model, f"_{side}_struct", None)
    held = getattr(model, f"_nested_{side}", None) if held is None else held
    if not isinstance(held, Mapping) or len(held) != len(tensors):
        return []
    return [str(key) for key in sorted(held)]


def _layer(tensor: Any) -> Any:
    history = tensor._keras_history
    return getattr(history, "operation", None) or history.layer


def _chosen_output(tensor: Any) -> str | None:
    """Return the name of the layer that gives an output; None if Keras made it up."""
    layer = _layer(tensor)
    plain = re.sub(r"_\d+$", "", layer.name).replace("_", "")
    kinds = {kind.__name__.lower() for kind in type(layer).__mro__}
    made_up = plain in {*kinds, "model"} or layer.name.startswith("tf.")
    several = len(getattr(layer, "_inbound_nodes", ())) and tensor._keras_history.tensor_index
    return None if made_up or several else str(layer.name)


def _distinct(names: Sequence[str | None], first: str, taken: set[str]) -> tuple[str, ...]:
    """Make names valid and distinct; what has none is called ``first``, ``first``_1..."""
    found = []
    for position, name in enumerate(names):
        plain = re.sub(r"\W", "_", name or (first if not position else f"{first}_{position}"))
        plain = f"_{plain}" if plain[:1].isdigit() else plain
        number = 1
        while plain in taken:
            plain, number = f"{re.sub(r'__[0-9]+$', '', plain)}__{number}", number + 1
        taken.add(plain)
        found.append(plain)
    return tuple(found)
