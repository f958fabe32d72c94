"""States that a Keras model takes as inputs and gives as outputs, as people write streaming models.

An input is paired with the output that is its next value: first by the recurrent layer or cell that
reads the one and gives the other, then by their names ("h_in", "h_out").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError
from convert.importers.imported import Reference, packed_inputs, unpacked_outputs
from convert.step.keras_graph import Names, Pair

# Parts of a name that tell an old state from a new one.
_OLD_OR_NEW = {"in", "input", "out", "output", "new", "next", "prev", "previous", "old", "t", "tm1"}


def carried_states(model: Any, names: Names) -> tuple[Pair, ...]:
    """Pair the inputs of a loaded model of tf_keras or Keras 3 that are states with outputs.

    Returns:
        () for a model that takes no states.

    Raises:
        UnsupportedLayerError: some states are paired and another is not.
    """
    inputs = {id(tensor): number for number, tensor in enumerate(model.inputs)}
    pairs = [pair for pair in _connected(model, inputs) if _same(model, pair)]
    pairs = list({pair.taken: pair for pair in reversed(pairs)}.values())
    one_step = all(len(item.shape) < 3 or item.shape[1] == 1 for item in model.inputs)
    if pairs or one_step:
        pairs += _named(model, names, pairs)
    pairs.sort()
    if pairs:
        _check_complete(model, names, pairs)
    return tuple(pairs)


def _connected(model: Any, inputs: Mapping[int, int]) -> Iterator[Pair]:
    """Find the outputs that a recurrent layer gives as the next value of an input."""
    for number, tensor in enumerate(model.outputs):
        layer, node, place = _origin(tensor)
        read = _read(node) if _is_recurrent(layer) else []
        if place and place < len(read) and id(read[place]) in inputs:
            yield Pair(inputs[id(read[place])], number)
    for number, tensor in enumerate(model.outputs):
        layer, node, place = _origin(tensor)
        read = _read(node) if _is_recurrent(layer) else []
        # The output of these is their only state.
        if not place and len(read) == 2 and id(read[1]) in inputs and _is_state(layer):
            yield Pair(inputs[id(read[1])], number, is_output=True)


def _origin(tensor: Any) -> tuple[Any, Any, int]:
    history = tensor._keras_history
    layer = getattr(history, "operation", None) or history.layer
    return layer, layer._inbound_nodes[history.node_index], int(history.tensor_index)


def _is_recurrent(layer: Any) -> bool:
    return hasattr(layer, "cell") or hasattr(layer, "state_size")


def _is_state(layer: Any) -> bool:
    return not getattr(layer, "return_sequences", False) or hasattr(layer, "cell")


def _read(node: Any) -> list[Any]:
    """Return the tensors that a call reads: the input, then the states."""
    if hasattr(node, "keras_inputs"):
        return list(node.keras_inputs)
    kept = {key: item for key, item in node.arguments.kwargs.items() if key != "mask"}
    return tensors_in([node.arguments.args, kept])


def tensors_in(nested: Any) -> list[Any]:
    """List all symbolic tensors in arguments, in order."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, list | tuple):
        return [tensor for item in nested for tensor in tensors_in(item)]
    return [nested] if hasattr(nested, "_keras_history") else []


def _same(model: Any, pair: Pair) -> bool:
    taken, given = model.inputs[pair.taken].shape, model.outputs[pair.given].shape
    return tuple(taken)[1:] == tuple(given)[1:]


def _named(model: Any, names: Names, pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Pair what is left by names that differ in "in" and "out" only."""
    used = {pair.taken for pair in pairs}, {pair.given for pair in pairs}
    for taken, name in enumerate(names.inputs):
        stem = _stem(name)
        if taken in used[0] or not stem:
            continue
        found = [
            given
            for given, output in enumerate(names.outputs)
            if given not in used[1]
            and _stem(output) == stem
            and output != name
            and _same(model, Pair(taken, given))
        ]
        if len(found) == 1:
            yield Pair(taken, found[0])


def _stem(name: str) -> tuple[str, ...]:
    words = re.split(r"_+", name.lower())
    return tuple(word for word in words if word and word not in _OLD_OR_NEW)


def _check_complete(model: Any, names: Names, pairs: Sequence[Pair]) -> None:
    """Refuse a model with a state that is read but not given back."""
    paired = {pair.taken for pair in pairs}
    inputs = {id(tensor): number for number, tensor in enumerate(model.inputs)}
    for layer in model._flatten_layers(include_self=False):
        for node in getattr(layer, "_inbound_nodes", ()) if _is_recurrent(layer) else ():
            for tensor in _read(node)[1:]:
                number = inputs.get(id(tensor))
                if number is not None and number not in paired:
                    raise UnsupportedLayerError(
                        f"input '{names.inputs[number]}' is a state of layer '{layer.name}', but "
                        "no output of the model is its next value; build the model with "
                        "return_state=True and give all states as outputs"
                    )


def stepped_reference(model: Any, pairs: Sequence[Pair]) -> Reference:
    """Make the reference that calls a loaded model frame by frame and feeds its states back."""
    taken, given = (
        {pair.taken for pair in pairs},
        {pair.given for pair in pairs if not pair.is_output},
    )
    others = [number for number in range(len(model.inputs)) if number not in taken]

    def compute(inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
        count = len(inputs[0])
        rows = int(model.inputs[0].shape[0] or count)
        found: list[list[NDArray[Any]]] = []
        for begin in range(0, count, rows):
            part = [_filled(values[begin : begin + rows], rows) for values in inputs]
            found.append([out[: count - begin] for out in _stepped(part, rows)])
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _stepped(inputs: list[NDArray[Any]], rows: int) -> list[NDArray[Any]]:
        states = {
            pair.taken: np.zeros((rows, *model.inputs[pair.taken].shape[1:]), np.float32)
            for pair in pairs
        }
        timed = [is_stepped(model, number, others) for number in others]
        steps = max(
            (len(v[0]) for v, is_timed in zip(inputs, timed, strict=True) if is_timed), default=1
        )
        rows_of: list[list[NDArray[Any]]] = []
        for step in range(steps):
            fed = dict(states)
            for number, values, changes in zip(others, inputs, timed, strict=True):
                frame = values[:, step] if changes else values
                rank = len(model.inputs[number].shape)
                fed[number] = frame[:, np.newaxis] if changes and frame.ndim < rank else frame
            outputs = unpacked_outputs(
                model(packed_inputs(model, [fed[n] for n in sorted(fed)]), training=False)
            )
            states = {pair.taken: outputs[pair.given] for pair in pairs}
            rows_of.append(
                [
                    out[:, 0] if out.ndim > 2 and out.shape[1] == 1 else out
                    for number, out in enumerate(outputs)
                    if number not in given
                ]
            )
        return [np.stack(parts, 1) for parts in zip(*rows_of, strict=True)]

    return compute


def is_stepped(model: Any, number: int, others: Sequence[int]) -> bool:
    """Tell whether an input of a model with states has a new value at each step.

    One without a time axis has, if no input has one.

    Args:
        others: the inputs that are no states.
    """
    timed = {n for n in others if len(model.inputs[n].shape) > 2 or _takes_ids(model.inputs[n])}
    return number in timed or not timed


def _takes_ids(tensor: Any) -> bool:
    return "int" in str(tensor.dtype)


def _filled(values: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat the last row until there are ``rows``."""
    return np.concatenate([values, np.repeat(values[-1:], rows - len(values), 0)])
