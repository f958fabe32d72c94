"""Rewrite a TFLite file's graph as a step whose states are inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.adoption.fused import with_explicit_cells
from convert.adoption.loops import without_loops
from convert.adoption.settled import settled, without_idle
from convert.adoption.variables import InnerState, with_explicit_variables
from convert.errors import SourceModelError
from convert.step.distinct_outputs import with_own_outputs
from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, RESERVED_NAMES, STEP_SIGNATURE
from device_runner.model.state_pairs import (
    StepPorts,
    choose_signature,
    find_ports,
    stored_alike,
)


@dataclass(frozen=True)
class ExplicitStep:
    """A step graph that was made of a TFLite file.

    Attributes:
        flatbuffer: the changed file, with the signature ``step``.
        ports: inputs, outputs and pairs as they were found in the original.
        names: by the step's input or output, the original's name.
        inner: states that were kept inside, by name.
        initial: what states begin with, by name, in real units.
    """

    flatbuffer: bytes
    ports: StepPorts
    names: dict[str, str]
    inner: tuple[str, ...]
    initial: dict[str, NDArray[np.float32]]


def explicit_step(
    data: bytes, asked: Sequence[tuple[str, str]], key: str | None, whole: bool
) -> ExplicitStep:
    """Make the states of a TFLite file explicit.

    Args:
        data: the file.
        asked: pairs (input, output) that the user says are states.
        key: the signature that is the step; None to choose.
        whole: whether it is to be quantized, see :func:`convert.adoption.settled.settled`.

    Raises:
        BadModelError, SourceModelError: the states cannot be told, or cannot be taken out.
    """
    first = read_graph(data)
    signature = choose_signature(first, key)
    number = 0 if signature is None else signature.subgraph
    graph = read_graph(data, number) if number else first
    ports = find_ports(graph, signature, asked)
    if ports.unclear:
        raise SourceModelError(
            f"which are states is not clear: {ports.unclear}; name each state with "
            "--state INPUT=OUTPUT"
        )
    _check_stored(graph, ports)
    editor = TfliteEditor(data)
    editor.begin_with(number)
    flatbuffer = settled(editor.flatbuffer())
    flatbuffer = settled(without_loops(flatbuffer), whole)
    flatbuffer, variables = with_explicit_variables(flatbuffer)
    flatbuffer, cells = with_explicit_cells(flatbuffer, whole)
    return _with_ports(flatbuffer, ports, [*variables, *cells], whole)


def _check_stored(graph: Graph, ports: StepPorts) -> None:
    """Raise SourceModelError if a state goes out in another form than it comes in."""
    for pair in ports.states:
        one, other = graph.tensors[pair.state_in], graph.tensors[pair.state_out]
        if not stored_alike(one, other):
            raise SourceModelError(
                f"state {pair.taken} comes in as {_form(one)} and goes out ({pair.given}) as "
                f"{_form(other)}, so its bytes cannot be handed on; adopt the float file with "
                "--scheme int8, which gives both one scale"
            )


def _form(tensor: object) -> str:
    dtype, scales, zeros = (getattr(tensor, name) for name in ("dtype", "scales", "zero_points"))
    scale = f" of scale {scales[0]:.4g}, zero point {zeros[0]}" if scales and zeros else ""
    return f"{dtype}{scale}"


def _with_ports(
    flatbuffer: bytes, ports: StepPorts, inner: Sequence[InnerState], whole: bool
) -> ExplicitStep:
    """Set the signature ``step``: inputs, outputs, and the states on both sides."""
    graph = read_graph(flatbuffer)
    # Tensors that took another's place are the graph's outputs now, in the same order.
    moved = _moved_outputs(ports, graph)
    if not ports.inputs or not ports.outputs:
        raise SourceModelError(
            "all its inputs or all its outputs are states, none is left for data; name the "
            "states with --state INPUT=OUTPUT"
        )
    inputs, outputs = _step_names(ports.inputs, INPUT_NAME), _step_names(ports.outputs, OUTPUT_NAME)
    taken = {*inputs, *outputs}
    states: dict[str, tuple[int, int]] = {}
    for pair in ports.states:
        states[_free(pair.name, taken | set(states))] = (pair.state_in, moved[pair.state_out])
    initial = {}
    for state in inner:
        name = _free(state.name, taken | set(states))
        states[name] = state.state_in, state.state_out
        if state.initial is not None:
            initial[name] = np.asarray(state.initial, np.float32)
    editor = TfliteEditor(flatbuffer)
    editor.begin_with(0)
    editor.set_ports(
        {**{name: ports.inputs[old] for name, old in inputs.items()},
         **{name: pair[0] for name, pair in states.items()}},
        {**{name: moved[ports.outputs[old]] for name, old in outputs.items()},
         **{name: pair[1] for name, pair in states.items()}},
        STEP_SIGNATURE,
    )  # fmt: skip
    changed = settled(with_own_outputs(without_idle(editor.flatbuffer())), whole)
    if read_graph(changed).subgraph_count == 1:
        editor = TfliteEditor(changed)
        editor.drop_unused()
        changed = editor.flatbuffer()
    changed = _with_single_names(changed)
    names, kept_inside = {**inputs, **outputs}, tuple(states)[len(ports.states) :]
    return ExplicitStep(changed, ports, names, kept_inside, initial)


def _moved_outputs(ports: StepPorts, graph: Graph) -> dict[int, int]:
    """Map each output tensor of the original to the one that the changed graph gives for it."""
    found = [*ports.outputs.values(), *(pair.state_out for pair in ports.states)]
    if not set(found) <= set(ports.order):
        raise SourceModelError(
            "its signature gives a tensor that the graph does not give; convert the model again"
        )
    return dict(zip(ports.order, graph.outputs, strict=True))


def _step_names(names: Mapping[str, int], first: str) -> dict[str, str]:
    """Map the step's names to the original's: the first is called "x" or "y"."""
    found: dict[str, str] = {}
    for name in names:
        new = first if not found else _free(name, {first, *found})
        found[new] = name
    return found


def _free(name: str, taken: set[str]) -> str:
    """Return a name that a contract may have and that is not taken."""
    plain = "".join(c for c in name if c.isprintable()) or "state"
    while plain in taken or plain in RESERVED_NAMES or plain in (INPUT_NAME, OUTPUT_NAME):
        plain += "_"
    return plain


def _with_single_names(flatbuffer: bytes) -> bytes:
    """Give each tensor a name of its own, by which calibration knows it."""
    graph = read_graph(flatbuffer)
    editor = TfliteEditor(flatbuffer)
    seen: set[str] = set()
    again = {}
    for tensor in graph.tensors:
        if not tensor.name or tensor.name in seen:
            again[tensor.index] = f"{tensor.name or 'tensor'}/{tensor.index}"
        seen.add(again.get(tensor.index, tensor.name))
    if not again:
        return flatbuffer
    editor.rename_tensors(again)
    return editor.flatbuffer()
