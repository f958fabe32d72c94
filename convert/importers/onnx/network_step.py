"""The step of a followed ONNX graph: what it takes and gives, in the network's order."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError
from convert.importers.imported import MEANINGS, VALUES
from convert.importers.onnx.network import Graph, Port
from convert.importers.onnx.pairs import PASSING, Pair
from convert.importers.onnx.reference import Fed, Read
from convert.importers.onnx.rows import entered, reshaped
from convert.importers.onnx.time_axis import Followed
from convert.importers.onnx.trace import Carried
from convert.importers.onnx.value import Value
from convert.layers.layer_rule import State, stateless
from convert.step.keras_graph import with_named_states
from convert.step.step_graph import CarriedState, Instruction, Kind, StepGraph, StepInput
from convert.step.timing import with_timing
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, RESERVED_NAMES


class NetworkStep:
    """The parts of a followed graph: what the step takes and gives, in the network's order."""

    def __init__(
        self,
        graph: Graph,
        followed: Followed,
        pairs: tuple[Pair, ...],
        bound: dict[str, NDArray[Any]],
    ) -> None:
        self.graph, self.followed, self.pairs, self.bound = graph, followed, pairs, bound
        self.values = followed.trace.values
        taken = {pair.taken for pair in pairs} | set(bound)
        given = {pair.given for pair in pairs}
        self.inputs = [port for port in graph.inputs if port.name not in taken]
        self.outputs = [
            port for port in graph.outputs
            if port.name not in given and self.values[port.name].dtype == np.float32
        ]  # fmt: skip
        left = [port.name for port in graph.outputs
                if port.name not in given and port not in self.outputs]  # fmt: skip
        self.changed = tuple(f"left out output '{name}', which is not float32" for name in left)
        if not self.outputs:
            raise UnsupportedLayerError("the network has no output of real numbers but its states")
        if not self.inputs:
            raise UnsupportedLayerError(
                "every input of the network is a state; name the states with --state IN=OUT"
            )
        for port in self.outputs:
            if self.values[port.name].constant is not None:
                raise UnsupportedLayerError(
                    f"output '{port.name}' does not depend on the inputs that change"
                )
        self.feds = [self.fed(port.name) for port in self.inputs]
        self.reads = [
            Read(port.name, self.values[port.name].axis,
                 self.values[port.name].kind is Kind.STEP)
            for port in self.outputs
        ]  # fmt: skip

        self.names = StepNames()
        self.input_names = [
            self.names.new(INPUT_NAME if number == 0 else port.name)
            for number, port in enumerate(self.inputs)
        ]
        self.output_names = [
            self.names.new(OUTPUT_NAME if number == 0 else port.name)
            for number, port in enumerate(self.outputs)
        ]

    def fed(self, name: str) -> Fed:
        """Say how an input is fed to the original."""
        port = self.graph.port(name)
        assert port is not None  # noqa: S101
        value = self.values[name]
        return Fed(name, value.shape, port.dtype, value.axis)

    @property
    def window(self) -> int | None:
        """The number of steps that the inputs are fixed to, if the output is of a whole window."""
        sums = any(self.values[port.name].kind is Kind.SUMMARY for port in self.outputs)
        for port in self.inputs:
            axis = self.values[port.name].axis
            size = None if axis is None else port.shape[axis]
            if sums and isinstance(size, int) and size > 1:
                return size
        return None

    def step_graph(self) -> StepGraph:
        """Make the step."""
        names = self.names
        inputs, before = [], []
        for name, port in zip(self.input_names, self.inputs, strict=True):
            taken, instruction = self._input(name, port)
            inputs.append(taken)
            before += instruction
        outputs, after = [], []
        for name, port in zip(self.output_names, self.outputs, strict=True):
            value = self.values[port.name]
            outputs.append((name, f"output {port.name}"))
            after.append(_leaving(port.name, value, f"output {port.name}"))
        instructions = tuple(with_named_states(self.followed.trace.instructions))
        for state in (state for one in instructions for state in one.states):
            names.new(state.name)
        carried = []
        for pair in self.pairs:
            value, new = self.values[pair.taken], self.values[pair.given]
            shape = frame_shape(value.shape)
            bound = _bound_of(self.graph, pair.given, self.followed.trace.bounds)
            state = State(names.new(pair.taken), shape[1:], bound)
            before.append(_entering(pair.taken, value, f"state {pair.taken}"))
            after.append(_leaving(pair.given, new, f"state {pair.given}"))
            carried.append(CarriedState(state, f"state {pair.taken}", f"state {pair.given}"))
        for loop in self.followed.trace.carried:
            entering, leaving, one = self._loop_state(loop)
            before.append(entering)
            after.append(leaving)
            carried.append(one)
        graph = StepGraph(
            tuple(inputs), (*before, *instructions, *after), tuple(outputs), tuple(carried)
        )
        shapes = {
            name: frame_shape(self.values[port.name].shape)[1:]
            for (name, _), port in zip(outputs, self.outputs, strict=True)
        }
        return with_timing(graph, shapes)

    def _loop_state(self, loop: Carried) -> tuple[Instruction, Instruction, CarriedState]:
        """Carry a state of a loop over time."""
        value, new = loop.taken, self.values[loop.given]
        if value.shape != new.shape:
            raise UnsupportedLayerError(
                f"a loop over time begins with a state of shape {list(value.shape)} and hands on "
                f"one of {list(new.shape)}; begin it with that shape"
            )
        shape = frame_shape(value.shape)
        initial = loop.initial.reshape(shape[1:]) if np.any(loop.initial) else None
        bound = _bound_of(self.graph, loop.given, self.followed.trace.bounds)
        name = self.names.new(_state_name(self.graph, loop.given))
        taken, given = f"state {value.name}", f"state {loop.given}"
        return (
            _entering(value.name, value, taken),
            _leaving(loop.given, new, given),
            CarriedState(State(name, shape[1:], bound, initial), taken, given),
        )

    def _input(self, name: str, port: Port) -> tuple[StepInput, list[Instruction]]:
        value = self.values[port.name]
        place = f"input {port.name}"
        if value.dtype.kind == "f":
            item = StepInput(name, place, frame_shape(value.shape), kind=value.kind)
        else:
            vocabulary = self._vocabulary(port)
            item = StepInput(
                name, place, (1, 1), vocabulary, kind=value.kind, id_axis=len(port.shape) > 2
            )
        return item, [_entering(port.name, value, place)]

    def _vocabulary(self, port: Port) -> int:
        """Find how many token ids an input takes, from the tables that they are looked up in."""
        tables = [
            len(table.constant)
            for node in self.graph.nodes
            if node.kind == "Gather" and port.name in node.inputs[1:]
            and (table := self.values[node.inputs[0]]).constant is not None
            and node.attributes.get("axis", 0) == 0
        ]  # fmt: skip
        if not tables or int(np.prod(self.values[port.name].shape)) != 1:
            raise UnsupportedLayerError(
                f"input '{port.name}' is {port.dtype} and no token id of a table; if it stays the "
                f"same, say --bind {port.name}=VALUE"
            )
        return min(tables)

    def understood(self, stepped: bool) -> str:
        """Say in one line how the network's inputs and outputs were understood."""
        parts = []
        parts += [described(port, self.values[port.name].axis, stepped) for port in self.inputs]
        parts += [
            f"state '{pair.taken}' comes back as '{pair.given}' ({pair.by})" for pair in self.pairs
        ]
        parts += [f"'{name}' stays {_short(array)}" for name, array in self.bound.items()]
        begin = "a step already" if stepped else "a network over sequences"
        return f"understood as {begin}: {'; '.join(parts)}"


def _short(array: NDArray[Any]) -> str:
    return ",".join(f"{number:g}" for number in array.ravel()[:4].tolist())


def described(port: Port, axis: int | None, stepped: bool) -> str:
    """Say how an input was understood."""
    shape = ", ".join("any" if size is None else str(size) for size in port.shape)
    what = "one step" if stepped else f"time is axis {axis}"
    if not stepped and axis is None:
        what = "the same for a whole sequence"
    return f"'{port.name}' [{shape}]: {what}"


class StepNames:
    """Names for a signature: each once, of letters, digits and underscores."""

    def __init__(self) -> None:
        self.taken: set[str] = set(RESERVED_NAMES)

    def new(self, name: str) -> str:
        """Return the name, changed as little as a signature needs."""
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "value"
        plain = f"v{plain}" if plain[0].isdigit() else plain
        found, number = plain, 2
        while found in self.taken or (found != name and found in (INPUT_NAME, OUTPUT_NAME)):
            found, number = f"{plain}_{number}", number + 1
        self.taken.add(found)
        return found


def frame_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape as a step's: a batch of one, and no other axes of size 1."""
    return (1, *(tuple(n for n in shape if n != 1) or (1,)))


def _leaving(layer: str, value: Value, place: str) -> Instruction:
    """Give a value of one step the shape that the step's outputs and states have."""
    rank, shape = len(value.shape), frame_shape(value.shape)
    rule = stateless(lambda given: reshaped(given, rank, shape))
    return Instruction(layer, rule, (value.name,), (place,))


def _entering(layer: str, value: Value, place: str) -> Instruction:
    """Give a frame or a state the shape that it has in one step of the network."""
    rule = stateless(lambda given: entered(given, value.shape))
    return Instruction(layer, rule, (place,), (value.name,))


def _state_name(graph: Graph, name: str) -> str:
    """Name a loop's state: h or c if a cell gives it."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    while name in makers and makers[name].kind in PASSING - {"Concat"}:
        name = makers[name].inputs[0]
    if name not in makers or makers[name].kind not in ("LSTM", "GRU", "RNN"):
        return "state"
    return "c" if name in makers[name].outputs[2:] else "h"


def _bound_of(graph: Graph, name: str, bounds: dict[str, float]) -> float | None:
    """Find the largest magnitude that a value can have, if recurrences alone give it."""
    if name in bounds:
        return bounds[name]
    node = next((node for node in graph.nodes if name in node.outputs), None)
    if node is None or node.kind not in PASSING:
        return None
    # All inputs of a join are values; of other operators the first one.
    parts = node.inputs if node.kind == "Concat" else node.inputs[:1]
    found = [_bound_of(graph, part, bounds) for part in parts]
    return None if None in found else max(bound for bound in found if bound is not None)


def meaning_of(graph: Graph, name: str) -> str:
    """Say what an output is, by the operator that gives it."""
    producers = {output: node for node in graph.nodes for output in node.outputs}
    while name in producers and producers[name].kind in (
        "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Flatten", "Slice", "Gather",
    ):  # fmt: skip
        name = producers[name].inputs[0]
    return MEANINGS.get(producers[name].kind.lower(), VALUES) if name in producers else VALUES
