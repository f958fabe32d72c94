"""Turn one time step of a recurrent network into a TFLite graph with explicit state."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.errors import ContractViolationError
from convert.layers.layer_rule import Lookup, State, in_rows, plain
from convert.schemes.scheme import LayerName
from convert.step.distinct_outputs import with_own_outputs
from convert.step.scopes import layer_scope
from convert.step.step_graph import Place, StepGraph
from device_runner.model.flatbuffer import read_graph
from device_runner.model.names import STEP_SIGNATURE
from models.tensorflow_log import quiet

CONTROL_FLOW = {"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class StepModule(tf.Module):
    """``step(x, state...) -> {y, state...}`` of one time step of a network.

    Args:
        graph: the step's computations, such as :func:`convert.step.keras_graph.keras_step_graph`
            gives them.
        fold_embedding: whether the products of an embedding and the recurrence after it become one
            table, so that the step has no input product. None: if the table is not much larger than
            what it replaces (:mod:`convert.layers.recurrent`).
        named: whether the tensors' names tell the layer (:mod:`convert.step.scopes`).
        rows: of every state and every output. They are independent sequences that get the same
            input, such as the lanes of a window. The input has one row, and so has all that depends
            on it alone: it is computed once for all rows.

    Attributes:
        inputs: what the step takes besides the states.
        outputs: names of what it gives besides the states.
        states: states by name, in the order of the signature.

    Raises:
        UnsupportedLayerError: two values have the same name, or a layer joins a step with a
            summary.
    """

    def __init__(
        self,
        graph: StepGraph,
        fold_embedding: bool | None = None,
        named: bool = True,
        rows: int = 1,
    ) -> None:
        super().__init__()
        self.named = named
        self._fold = fold_embedding
        self.rows = rows
        # Keeps the weights that the step reads.
        self.owner = graph.owner
        self.graph = graph
        self.inputs = graph.inputs
        self.outputs = tuple(name for name, _ in graph.outputs)
        self.states: dict[str, State] = graph.states
        graph.check_names()
        self.output_kinds = graph.output_kinds()
        self.step = tf.function(
            self._step,
            # No tensor decides in it: rewriting its Python would take longer than tracing it.
            autograph=False,
            input_signature=[
                *(item.spec for item in self.inputs),
                *(
                    tf.TensorSpec((rows, *state.shape), tf.float32, name=name)
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
        """Initial values of the states that do not begin with zeros, [1, *state shape] for any
        number of rows."""
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
    def float_states(self) -> frozenset[str]:
        """Names of the states that stay in float32 in every scheme."""
        return frozenset(name for name, state in self.states.items() if state.in_float)

    @property
    def layers(self) -> tuple[LayerName, ...]:
        """What the step's computations are, by their places."""
        return tuple(LayerName(one.layer, one.rule.float_only) for one in self.graph.instructions)

    @property
    def changed(self) -> tuple[str, ...]:
        """What the step does differently from the network, in words."""
        of_layers = (
            f"{item.layer}: {item.rule.changed}"
            for item in self.graph.instructions
            if item.rule.changed
        )
        return _once((*of_layers, *(self._in_time(name) for name in self.outputs)))

    @property
    def first_phase(self) -> int:
        """The phase of the cycle that a sequence begins with."""
        return self.graph.first_phase

    def _in_time(self, output: str) -> str:
        """Say when an output comes, if not at each step."""
        timing = self.graph.timing(output)
        late = (
            f"output '{output}': the first answer of the original comes at step {timing.delay} "
            "(from 0), when the windows are full; what comes before is none"
        )
        if timing.period == 1:
            return late if timing.delay else ""
        every = f"an answer every {timing.period} steps, which is held in between"
        return f"{late}; then {every}" if timing.delay else f"output '{output}': {every}"

    def run(self, sequence: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Step through a sequence in TensorFlow, each state when it is due.

        Args:
            sequence: [steps, *frame shape] by input.

        Returns:
            [steps, *output shape] by output.
        """
        states = {
            name: self.initial.get(name, np.zeros((1, *state.shape), np.float32))
            for name, state in self.states.items()
        }
        given: dict[str, list[NDArray[Any]]] = {name: [] for name in self.outputs}
        frames = zip(*(sequence[item.name] for item in self.inputs), strict=True)
        for position, frame in enumerate(frames, self.first_phase):
            results = self.step(*(value[np.newaxis] for value in frame), *states.values())
            due = {
                name: results[name].numpy()
                for name, state in self.states.items()
                if position % state.period == 0
            }
            states |= due
            for name in self.outputs:
                held = states.get(f"{name}_held")
                given[name].append((results[name].numpy() if held is None else held)[0])
        return {name: np.array(values) for name, values in given.items()}

    def _scope(self, number: int) -> AbstractContextManager[Any]:
        """Return the name scope of a computation, by its place in the step."""
        return tf.name_scope(layer_scope(number)) if self.named else contextlib.nullcontext()

    def _step(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        count = len(self.inputs)
        places = [item.place for item in self.inputs]
        values: dict[Place, Any] = dict(zip(places, tensors[:count], strict=True))
        state = dict(zip(self.states, tensors[count:], strict=True))
        values.update((one.taken, state[one.state.name]) for one in self.graph.carried)
        results: dict[str, tf.Tensor] = {}
        for number, item in enumerate(self.graph.instructions):
            inputs = tuple(values[place] for place in item.inputs)
            old = tuple(state[own.name] for own in item.states)
            with self._scope(number):
                if not item.rule.takes_deferred:
                    inputs = tuple(plain(value) for value in inputs)
                outputs, new = item.rule.step(inputs, old)
            outputs = tuple(
                value._replace(fold=self._fold) if isinstance(value, Lookup) else value
                for value in outputs
            )
            values.update(zip(item.outputs, outputs, strict=True))
            results.update(zip((own.name for own in item.states), new, strict=True))
        given = {name: plain(values[place]) for name, place in self.graph.outputs}
        carried = {one.state.name: plain(values[one.given]) for one in self.graph.carried}
        return {
            name: in_rows(value, self.rows)
            for name, value in {**given, **carried, **results}.items()
        }


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def to_float_graph(module: StepModule) -> bytes:
    """Convert a step module to a float32 .tflite flatbuffer with the signature ``step``.

    Raises:
        ContractViolationError: the graph has control flow, a Flex or custom operator, or a dynamic
            shape.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        step = module.step.get_concrete_function()
        # The weights that the step reads, and no layer: Keras would trace each layer's calls for
        # the file, which takes longer than all the rest.
        saved = tf.Module()
        saved.weights = step.variables
        tf.saved_model.save(saved, folder, signatures={STEP_SIGNATURE: step})
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
