"""Turn one time step of a recurrent network into a TFLite graph with explicit state."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from convert.errors import ContractViolationError, UnsupportedLayerError
from convert.layers import step_rule
from convert.layers.layer_rule import Lookup, State, StepRule, plain
from convert.step.distinct_outputs import with_own_outputs
from device_runner.model.flatbuffer import read_graph
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from models.layers import TokenEmbedding
from models.tensorflow_log import quiet

CONTROL_FLOW = {"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
# Layers whose input is token ids.
EMBEDDINGS = (TokenEmbedding, keras.layers.Embedding)

# A place in the graph that holds a value: the path of nested models that leads to it, and the
# identity of Keras' symbolic tensor.
Place = tuple[tuple[int, ...], int]


class Kind(Enum):
    """What a value of a network stands for.

    STEP is one step, SUMMARY a whole sequence up to its end. CONSTANT is an input that does not
    change over the sequence."""

    STEP = "step"
    SUMMARY = "summary"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Instruction:
    """One call of a layer.

    It reads the values at ``inputs`` and writes those at ``outputs``. ``states`` are the layer's,
    named as in the signature."""

    layer: str
    rule: StepRule
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    states: tuple[State, ...] = ()


@dataclass(frozen=True)
class StepInput:
    """An input of the step.

    ``shape`` has the batch axis; ``vocabulary`` is the number of token ids, if it takes them;
    ``kind`` is STEP or CONSTANT."""

    name: str
    shape: tuple[int, ...]
    vocabulary: int | None = None
    kind: Kind = Kind.STEP

    @property
    def spec(self) -> tf.TensorSpec:
        dtype = tf.float32 if self.vocabulary is None else tf.int32
        return tf.TensorSpec(self.shape, dtype, name=self.name)


class StepModule(tf.Module):
    """``step(x, state...) -> {y, state...}`` of a network of Keras layers.

    The network is Sequential or Functional, with one or several inputs and outputs.

    The first input is called x and the first output y; others keep the network's names. ``states``
    maps names to states in graph order. If one layer has states, they have the layer's names ("h",
    "c"); if several layers have states, they are numbered ("h_0", "h_1").

    Args:
        fold_embedding: whether the products of an embedding and the recurrence after it become one
            table, so that the step has no input product. None: if the table is not much larger than
            what it replaces (:mod:`convert.layers.recurrent`).

    Raises:
        UnsupportedLayerError: a layer cannot be stepped.
    """

    def __init__(self, network: keras.Model, fold_embedding: bool | None = None) -> None:
        super().__init__()
        self._fold = fold_embedding
        if not hasattr(network, "_nodes_by_depth") or not network.inputs:
            raise UnsupportedLayerError(
                f"'{network.name}' ({type(network).__name__}) is not a graph of layers; only "
                "Sequential models with a known input shape and Functional models can be stepped"
            )
        # Tracked by tf.Module, so that the weights become constants of the graph.
        self.network = network
        self._input_places: tuple[Place, ...] = tuple(((), id(item)) for item in network.inputs)
        found = dict(zip(self._input_places, self._input_places, strict=True))
        instructions = list(_flattened(network, found, ()))
        self._instructions = tuple(_with_named_states(instructions))
        outputs: list[Place] = [((), id(tensor)) for tensor in network.outputs]
        self._output_places = tuple(found.get(place, place) for place in outputs)
        self.states: dict[str, State] = {
            state.name: state for item in self._instructions for state in item.states
        }
        self.inputs = tuple(
            _step_input(INPUT_NAME if position == 0 else name, tensor, network)
            for position, (name, tensor) in enumerate(
                zip(network.input_names, network.inputs, strict=True)
            )
        )
        self.outputs = (OUTPUT_NAME, *network.output_names[1:])
        self.output_kinds = self._kinds()
        names = [*(item.name for item in self.inputs), *self.outputs, *self.states]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UnsupportedLayerError(
                f"two inputs, outputs or states of the step are called '{twice}'; rename the layer"
            )
        self.step = tf.function(
            self._step,
            input_signature=[
                *(item.spec for item in self.inputs),
                *(
                    tf.TensorSpec((1, *state.shape), tf.float32, name=name)
                    for name, state in self.states.items()
                ),
            ],
        )

    @property
    def state_bounds(self) -> dict[str, float]:
        """Largest magnitudes of states that the equations allow, by state name."""
        return {name: state.bound for name, state in self.states.items() if state.bound is not None}

    @property
    def initial(self) -> dict[str, NDArray[Any]]:
        """Initial values of the states that do not begin with zeros, [1, *state shape]."""
        return {
            name: state.initial[np.newaxis]
            for name, state in self.states.items()
            if state.initial is not None
        }

    @property
    def periods(self) -> dict[str, int]:
        """Steps from one update to the next, by name, of states not updated at each step."""
        return {name: state.period for name, state in self.states.items() if state.period > 1}

    @property
    def vocabularies(self) -> dict[str, int]:
        """Number of token ids, by the name of each input that takes them."""
        return {item.name: item.vocabulary for item in self.inputs if item.vocabulary is not None}

    @property
    def float_only(self) -> tuple[str, ...]:
        """Why the step cannot be computed in integers; empty if it can."""
        return _once(item.rule.float_only for item in self._instructions)

    @property
    def changed(self) -> tuple[str, ...]:
        """What the step does differently from the network, in words."""
        return _once(
            f"{item.layer}: {item.rule.changed}" for item in self._instructions if item.rule.changed
        )

    def _kinds(self) -> dict[str, Kind]:
        """Find what each output stands for, by its name.

        Raises:
            UnsupportedLayerError: a layer joins a step with what only the sequence's end tells.
        """
        kinds = {
            place: item.kind for place, item in zip(self._input_places, self.inputs, strict=True)
        }
        for item in self._instructions:
            given = {kinds[place] for place in item.inputs}
            if {Kind.STEP, Kind.SUMMARY} <= given:
                raise UnsupportedLayerError(
                    f"layer '{item.layer}' joins a step with the summary of the whole sequence, "
                    "which is known at its end alone; set return_sequences=True in front of it"
                )
            kind = next((k for k in (Kind.SUMMARY, Kind.STEP) if k in given), Kind.CONSTANT)
            sums_up = item.rule.sums_up
            for number, place in enumerate(item.outputs):
                sums = sums_up[number] if isinstance(sums_up, tuple) else sums_up
                if sums and kind is not Kind.STEP:
                    raise UnsupportedLayerError(
                        f"layer '{item.layer}' runs over time, but its input has no steps left; "
                        "set return_sequences=True in front of it"
                    )
                kinds[place] = Kind.SUMMARY if sums else kind
        return {
            name: kinds[place]
            for name, place in zip(self.outputs, self._output_places, strict=True)
        }

    def _step(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        count = len(self.inputs)
        values: dict[Place, Any] = dict(zip(self._input_places, tensors[:count], strict=True))
        state = dict(zip(self.states, tensors[count:], strict=True))
        results: dict[str, tf.Tensor] = {}
        for item in self._instructions:
            inputs = tuple(values[place] for place in item.inputs)
            if not item.rule.takes_deferred:
                inputs = tuple(plain(value) for value in inputs)
            old = tuple(state[own.name] for own in item.states)
            outputs, new = item.rule.step(inputs, old)
            outputs = tuple(
                value._replace(fold=self._fold) if isinstance(value, Lookup) else value
                for value in outputs
            )
            values.update(zip(item.outputs, outputs, strict=True))
            results.update(zip((own.name for own in item.states), new, strict=True))
        given = (plain(values[place]) for place in self._output_places)
        return {**dict(zip(self.outputs, given, strict=True)), **results}


def _flattened(
    model: keras.Model, outer: dict[Place, Place], path: tuple[int, ...]
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
                yield from _flattened(inner, found, inner_path)
                for place, tensor in zip(outputs, inner.outputs, strict=True):
                    innermost = (inner_path, id(tensor))
                    outer[place] = found.get(innermost, innermost)
            else:
                yield Instruction(node.layer.name, step_rule(node.layer, node), inputs, outputs)


def _with_named_states(instructions: list[Instruction]) -> Iterator[Instruction]:
    """Name the states of the instructions as in the signature."""
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


def _step_input(name: str, tensor: Any, network: keras.Model) -> StepInput:
    """Find what one step takes of an input.

    The input is [batch, steps, channels], token ids [batch, steps] or [batch, steps, 1], or [batch,
    channels] that stays for a sequence."""
    readers = [
        node.layer
        for nodes in network._nodes_by_depth.values()
        for node in nodes
        if not node.is_input and any(read is tensor for read in node.keras_inputs)
    ]
    tables = [layer for layer in readers if isinstance(layer, EMBEDDINGS)]
    if tables:
        return StepInput(name, (1, 1), min(layer.input_dim for layer in tables))
    kind = Kind.STEP if len(tensor.shape) == 3 else Kind.CONSTANT
    shape = tensor.shape
    if len(shape) not in (2, 3) or shape[-1] is None:
        raise UnsupportedLayerError(
            f"input '{tensor.name}' has shape {tuple(shape)}; a step takes inputs of shape "
            "(batch, steps, channels), token ids of shape (batch, steps), and (batch, channels)"
        )
    return StepInput(name, (1, int(shape[-1])), kind=kind)


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def to_float_graph(module: StepModule) -> bytes:
    """Convert a step module to a float32 .tflite flatbuffer with the signature ``step``.

    Raises:
        ContractViolationError: the graph has control flow, a Flex or custom operator, or a dynamic
            shape.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        tf.saved_model.save(module, folder, signatures={STEP_SIGNATURE: module.step})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[STEP_SIGNATURE]
        )
        flatbuffer = with_own_outputs(bytes(converter.convert()))
    graph = read_graph(flatbuffer)
    for operator in graph.operators:
        if operator.name in CONTROL_FLOW or operator.name.startswith("CUSTOM"):
            raise ContractViolationError(
                f"the step graph contains {operator.name}, which does not run everywhere; "
                "express the cell's step in plain tensor operations"
            )
    if not all(tensor.static_shape for tensor in graph.tensors):
        raise ContractViolationError("the step graph has a dynamic shape; fix the cell's shapes")
    return flatbuffer
