"""One time step of a Sequential or Functional network of tf_keras layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.layers import step_rule
from convert.layers.layer_rule import State
from convert.layers.one_step import has_time, is_one_step, of_one_step
from convert.step.step_graph import CarriedState, Instruction, Kind, StepGraph, StepInput
from convert.step.timing import with_timing
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME
from models.layers import TokenEmbedding

# Layers whose input is token ids.
EMBEDDINGS = (TokenEmbedding, keras.layers.Embedding)

# A place: the path of nested models that leads to it, and the identity of Keras' symbolic tensor.
KerasPlace = tuple[tuple[int, ...], int]


class Names(NamedTuple):
    """The names of a step's inputs and outputs, in the network's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Pair(NamedTuple):
    """A state's numbers among the model's inputs and among its outputs.

    Attributes:
        is_output: whether the new state is an output of the model besides, such as a GRU's.
    """

    taken: int
    given: int
    is_output: bool = False


def keras_step_graph(
    network: keras.Model, names: Names | None = None, pairs: Sequence[Pair] = ()
) -> StepGraph:
    """Find how a network's layers are stepped.

    If no names are given, the first input is called x and the first output y; others keep the
    network's names. If one
    layer has states, they have the layer's names ("h", "c"); if several layers have states, they
    are numbered ("h_0", "h_1").

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
    """
    if not hasattr(network, "_nodes_by_depth") or not network.inputs:
        raise UnsupportedLayerError(
            f"'{network.name}' ({type(network).__name__}) is not a graph of layers; only "
            "Sequential models with a known input shape and Functional models can be stepped"
        )
    given = names or _own_names(network)
    places: tuple[KerasPlace, ...] = tuple(((), id(item)) for item in network.inputs)
    found: dict[KerasPlace, KerasPlace] = dict(zip(places, places, strict=True))
    taken = {pair.taken for pair in pairs}
    with of_one_step(bool(pairs), _with_time(network, taken)):
        instructions = list(with_named_states(flattened(network, found, ())))
        if pairs:
            instructions = list(_of_one_step(instructions, {*given.inputs, *given.outputs}))
        inputs = tuple(
            _step_input(given.inputs[number], places[number], network.inputs[number], network)
            for number in range(len(places))
            if number not in taken
        )
    if pairs and not any(item.kind is Kind.STEP for item in inputs):
        inputs = tuple(replace(item, kind=Kind.STEP) for item in inputs)
    ends: list[KerasPlace] = [((), id(tensor)) for tensor in network.outputs]
    results = [found.get(place, place) for place in ends]
    carried = tuple(
        CarriedState(
            State(given.inputs[pair.taken], tuple(network.inputs[pair.taken].shape[1:])),
            places[pair.taken],
            results[pair.given],
        )
        for pair in pairs
    )
    states = {pair.given for pair in pairs if not pair.is_output}
    outputs = tuple(
        (name, place)
        for number, (name, place) in enumerate(zip(given.outputs, results, strict=True))
        if number not in states
    )
    if not outputs:
        raise UnsupportedLayerError(
            f"'{network.name}' gives nothing but its states; give an output besides"
        )
    graph = StepGraph(inputs, tuple(instructions), outputs, carried, owner=network)
    graph.output_kinds()
    shapes = {
        name: tuple(tensor.shape)[2 if has_time(tensor.shape) else 1 :]
        for name, tensor in zip(given.outputs, network.outputs, strict=True)
    }
    return with_timing(graph, shapes)


def _with_time(network: keras.Model, states: Collection[int]) -> bool:
    """Tell whether an input has a second axis of one element or of any size, or ids or channels
    alone; the others take frames with other axes."""
    shapes = [tuple(tensor.shape) for n, tensor in enumerate(network.inputs) if n not in states]
    return any(len(shape) < 3 or shape[1] in (None, 1) for shape in shapes)


def _own_names(network: keras.Model) -> Names:
    """Return a network's names, with x and y for the first input and output."""
    return Names((INPUT_NAME, *network.input_names[1:]), (OUTPUT_NAME, *network.output_names[1:]))


def _of_one_step(instructions: Iterable[Instruction], taken: set[str]) -> Iterator[Instruction]:
    """Let nothing sum up a sequence, which is one step, and keep the names that are taken."""
    for item in instructions:
        states = tuple(
            replace(state, name=f"{item.layer}_{state.name}") if state.name in taken else state
            for state in item.states
        )
        yield replace(item, rule=replace(item.rule, sums_up=False), states=states)


def flattened(
    model: keras.Model, outer: dict[KerasPlace, KerasPlace], path: tuple[int, ...]
) -> Iterator[Instruction]:
    """List the calls of a model's layers in the order of computation, nested models included.

    Args:
        outer: where the model's inputs are found, by their places in it; extended by where the
            values of nested models are.
        path: the calls that lead to the model.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            inputs = tuple(
                outer.get((path, id(tensor)), (path, id(tensor))) for tensor in node.keras_inputs
            )
            outputs = tuple((path, id(tensor)) for tensor in tf.nest.flatten(node.outputs))
            if isinstance(node.layer, keras.Model):
                inner, inner_path = node.layer, (*path, id(node))
                inner_inputs = ((inner_path, id(tensor)) for tensor in inner.inputs)
                found = dict(zip(inner_inputs, inputs, strict=True))
                yield from flattened(inner, found, inner_path)
                for place, tensor in zip(outputs, inner.outputs, strict=True):
                    innermost = (inner_path, id(tensor))
                    outer[place] = found.get(innermost, innermost)
            else:
                _complete_shapes(node)
                yield Instruction(node.layer.name, step_rule(node.layer, node), inputs, outputs)


def _complete_shapes(node: Any) -> None:
    """Give the outputs of a call the sizes that follow from its inputs.

    Keras leaves out those of a resized frame if the number of steps is not known."""
    (output, *others) = tf.nest.flatten(node.outputs)
    if others or None not in output.shape[2:]:
        return
    shape = node.layer.compute_output_shape(node.input_shapes)
    if tf.TensorShape(shape).rank == len(output.shape):
        output.set_shape(shape)


def with_named_states(instructions: Iterable[Instruction]) -> Iterator[Instruction]:
    """Name the states of the instructions as in the signature."""
    instructions = list(instructions)
    several = sum(bool(item.rule.states) for item in instructions) > 1
    number = 0
    for item in instructions:
        if not item.rule.states:
            yield item
            continue
        states = item.rule.states
        if several:
            states = tuple(replace(state, name=f"{state.name}_{number}") for state in states)
        yield replace(item, states=states)
        number += 1


def _step_input(name: str, place: KerasPlace, tensor: Any, network: keras.Model) -> StepInput:
    """Find what one step takes of an input.

    The input is [batch, steps, *frame shape], token ids [batch, steps] or [batch, steps, 1], or
    [batch, channels] that stays for a sequence."""
    readers = [
        node.layer
        for nodes in network._nodes_by_depth.values()
        for node in nodes
        if not node.is_input and any(read is tensor for read in node.keras_inputs)
    ]
    tables = [layer for layer in readers if isinstance(layer, EMBEDDINGS)]
    if tables:
        vocabulary = min(layer.input_dim for layer in tables)
        # An id of [batch, 1] beside a sequence is no sequence of ids: that has a free length here.
        stays = tuple(tensor.shape)[1:] == (1,) and not is_one_step()
        kind = Kind.CONSTANT if stays else Kind.STEP
        return StepInput(name, place, (1, 1), vocabulary, id_axis=len(tensor.shape) > 2, kind=kind)
    shape = tuple(tensor.shape)
    kind = Kind.STEP if len(shape) > 2 else Kind.CONSTANT
    whole_frame = is_one_step() and not has_time(shape)
    frame = shape[2:] if kind is Kind.STEP and not whole_frame else shape[1:]
    if not frame or None in frame:
        raise UnsupportedLayerError(
            f"input '{tensor.name}' has shape {shape}; a step takes inputs of shape "
            "(batch, steps, channels), (batch, steps, height, width, channels), token ids of shape "
            "(batch, steps), and (batch, channels), with a size for each axis of a frame"
        )
    return StepInput(name, place, (1, *(int(size) for size in frame)), kind=kind)
