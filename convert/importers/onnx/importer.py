"""Import an ONNX file as one that can be stepped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import ConvertError, SourceModelError, UnsupportedLayerError
from convert.importers import NO_HINTS, ImportHints
from convert.importers.imported import MEANINGS, VALUES, ImportedModel
from convert.importers.onnx.files import opset_of, read_model
from convert.importers.onnx.free_length import with_free_length
from convert.importers.onnx.network import Graph, Port, read_graph
from convert.importers.onnx.pairs import PASSING, Pair, find_pairs
from convert.importers.onnx.reference import Fed, Read, by_steps, open_session, over_sequences
from convert.importers.onnx.rows import entered, reshaped
from convert.importers.onnx.simplify import simplified
from convert.importers.onnx.time_axis import Followed, follow_sequence, follow_step
from convert.importers.onnx.value import Value
from convert.layers.layer_rule import State, stateless
from convert.step.keras_graph import with_named_states
from convert.step.step_graph import CarriedState, Instruction, Kind, StepGraph, StepInput
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, RESERVED_NAMES
from models.tensorflow_log import quiet


def import_onnx(path: Path, hints: ImportHints = NO_HINTS) -> ImportedModel:
    """Read an ONNX file.

    Args:
        hints: what the user says of it.

    Raises:
        SourceModelError: the file is missing, damaged, or needs a package that is not here.
        UnsupportedLayerError: an operator cannot be stepped.
    """
    try:
        with quiet():
            return imported_graph(read_model(path), path.stem, hints)
    except ConvertError as error:
        if error.message.startswith(str(path)):
            raise
        raise type(error)(f"{path}: {error.message}") from error


def imported_graph(
    model: Any,
    name: str,
    hints: ImportHints = NO_HINTS,
    framework: str = "",
    session: Any = None,
) -> ImportedModel:
    """Import a ModelProto; errors as :func:`import_onnx`.

    Args:
        framework: what it comes from, if not from ONNX.
        session: computes the original as a session of ONNX Runtime does; None for that.
    """
    import onnxruntime

    own = f"ONNX (opset {opset_of(model)}, ONNX Runtime {onnxruntime.__version__})"
    graph = simplified(read_graph(model.graph, opset_of(model)))
    sizes, bound = _bound(graph, hints.bindings)
    known = {
        key: Value(key, array.shape, array.dtype, constant=array) for key, array in bound.items()
    }
    inputs = tuple(port for port in graph.inputs if port.name not in bound)
    if not inputs or not graph.outputs:
        raise UnsupportedLayerError("the network has no input that changes, or no output")
    pairs = find_pairs(replace(graph, inputs=inputs), hints.states)
    stepped = bool(pairs) or not _has_sequences(graph, inputs, sizes)
    follow = follow_step if stepped else follow_sequence
    followed = follow(graph, sizes, known)
    built = _Built(graph, followed, pairs, bound)
    if stepped:
        taken = [(built.fed(pair.taken), pair.given) for pair in pairs]
        session = session or open_session(model)
        reference = by_steps(session, built.feds, built.reads, taken, bound)
    else:
        session = session or open_session(with_free_length(model, followed, inputs))
        reference = over_sequences(session, built.feds, built.reads, bound)
    return ImportedModel(
        name,
        built.step_graph(),
        reference,
        framework or own,
        cells=tuple(followed.trace.cells),
        parameters=sum(array.size for array in graph.constants.values() if array.dtype.kind == "f"),
        output_meaning=_meaning(graph, built.reads[0].name),
        changed=built.changed,
        window=None if stepped or framework else built.window,
        understood=built.understood(stepped),
    )


def _has_sequences(graph: Graph, inputs: Sequence[Port], sizes: dict[str, int]) -> bool:
    """Tell whether a network without states of its own may take whole sequences."""
    recurrent = any(node.kind in ("LSTM", "GRU", "RNN") for node in graph.nodes)
    free = any(
        not isinstance(size, int) and size not in sizes
        for port in inputs
        for size in port.shape[1:]
    )
    long = any(len(port.shape) > 2 and port.shape[1:] for port in inputs)
    return recurrent or free or long


def _bound(
    graph: Graph, bindings: Sequence[tuple[str, str]]
) -> tuple[dict[str, int], dict[str, NDArray[Any]]]:
    """Read the bindings: sizes by an axis' name, values by an input's name."""
    sizes: dict[str, int] = {}
    values: dict[str, NDArray[Any]] = {}
    axes = {size for port in graph.inputs for size in port.shape if isinstance(size, str)}
    for name, text in bindings:
        port = next((item for item in graph.inputs if item.name == name), None)
        try:
            numbers = np.array([float(part) for part in text.replace("x", ",").split(",")])
            if port is None and name in axes:
                sizes[name] = int(text)
                continue
            if port is None:
                known = ", ".join(sorted({item.name for item in graph.inputs} | axes))
                raise SourceModelError(
                    f"--bind {name}={text}: there is no such input or axis; there are {known}"
                )
            shape = tuple(size if isinstance(size, int) else 1 for size in port.shape)
            values[name] = np.broadcast_to(numbers, shape).astype(port.dtype) if shape else (
                numbers.astype(port.dtype).reshape(())
            )  # fmt: skip
        except ValueError as error:
            raise SourceModelError(
                f"--bind {name}={text}: not a number, or numbers that do not fit"
            ) from error
    return sizes, values


class _Built:
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
        names = _Names()
        inputs, before = [], []
        for number, port in enumerate(self.inputs):
            name = names.new(INPUT_NAME if number == 0 else port.name)
            taken, instruction = self._input(name, port)
            inputs.append(taken)
            before += instruction
        outputs, after = [], []
        for number, port in enumerate(self.outputs):
            value = self.values[port.name]
            name = names.new(OUTPUT_NAME if number == 0 else port.name)
            outputs.append((name, f"output {port.name}"))
            after.append(_leaving(port.name, value, f"output {port.name}"))
        instructions = tuple(with_named_states(self.followed.trace.instructions))
        for state in (state for one in instructions for state in one.states):
            names.new(state.name)
        carried = []
        for pair in self.pairs:
            value, new = self.values[pair.taken], self.values[pair.given]
            shape = _frame(value.shape)
            bound = _bound_of(self.graph, pair.given, self.followed.trace.bounds)
            state = State(names.new(pair.taken), shape[1:], bound)
            before.append(_entering(pair.taken, value, f"state {pair.taken}"))
            after.append(_leaving(pair.given, new, f"state {pair.given}"))
            carried.append(CarriedState(state, f"state {pair.taken}", f"state {pair.given}"))
        return StepGraph(
            tuple(inputs), (*before, *instructions, *after), tuple(outputs), tuple(carried)
        )

    def _input(self, name: str, port: Port) -> tuple[StepInput, list[Instruction]]:
        value = self.values[port.name]
        place = f"input {port.name}"
        if value.dtype.kind == "f":
            item = StepInput(name, place, _frame(value.shape), kind=value.kind)
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
        for port in self.inputs:
            axis = self.values[port.name].axis
            shape = ", ".join("any" if size is None else str(size) for size in port.shape)
            what = "one step" if stepped else f"time is axis {axis}"
            if not stepped and axis is None:
                what = "the same for a whole sequence"
            parts.append(f"'{port.name}' [{shape}]: {what}")
        parts += [
            f"state '{pair.taken}' comes back as '{pair.given}' ({pair.by})" for pair in self.pairs
        ]
        parts += [f"'{name}' stays {_short(array)}" for name, array in self.bound.items()]
        begin = "a step already" if stepped else "a network over sequences"
        return f"understood as {begin}: {'; '.join(parts)}"


def _short(array: NDArray[Any]) -> str:
    return ",".join(f"{number:g}" for number in array.ravel()[:4].tolist())


class _Names:
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


def _frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape as a step's: a batch of one, and no other axes of size 1."""
    return (1, *(tuple(n for n in shape if n != 1) or (1,)))


def _leaving(layer: str, value: Value, place: str) -> Instruction:
    """Give a value of one step the shape that the step's outputs and states have."""
    rank, shape = len(value.shape), _frame(value.shape)
    rule = stateless(lambda given: reshaped(given, rank, shape))
    return Instruction(layer, rule, (value.name,), (place,))


def _entering(layer: str, value: Value, place: str) -> Instruction:
    """Give a frame or a state the shape that it has in one step of the network."""
    rule = stateless(lambda given: entered(given, value.shape))
    return Instruction(layer, rule, (place,), (value.name,))


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


def _meaning(graph: Graph, name: str) -> str:
    """Say what an output is, by the operator that gives it."""
    producers = {output: node for node in graph.nodes for output in node.outputs}
    while name in producers and producers[name].kind in (
        "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Flatten", "Slice", "Gather",
    ):  # fmt: skip
        name = producers[name].inputs[0]
    return MEANINGS.get(producers[name].kind.lower(), VALUES) if name in producers else VALUES
