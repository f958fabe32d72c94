"""Turn a file's resource variables into states that the step takes and gives.

A variable is read (READ_VARIABLE) and assigned (ASSIGN_VARIABLE) through a handle (VAR_HANDLE).
What it begins with is assigned in a subgraph that CALL_ONCE runs. The operators are in the order of
computation, so what a read gives is the last value that was assigned before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import SourceModelError
from convert.tflite_editor import TfliteEditor
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, Tensor, read_graph

_PLUMBING = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


@dataclass(frozen=True)
class InnerState:
    """A state that was kept inside the file.

    Attributes:
        name: of the state.
        state_in, state_out: its tensors in the changed graph.
        initial: what it begins with, in real units; None for zeros.
    """

    name: str
    state_in: int
    state_out: int
    initial: NDArray[Any] | None = None


def with_explicit_variables(flatbuffer: bytes) -> tuple[bytes, list[InnerState]]:
    """Take the variables of the first subgraph out of it.

    Returns:
        The changed flatbuffer, whose ports are not set yet, and the states. A variable that no step
        assigns becomes a constant.

    Raises:
        SourceModelError: a variable is used in a way that cannot be taken apart.
    """
    graph = read_graph(flatbuffer)
    if not any(operator.name in _PLUMBING for operator in graph.operators):
        return flatbuffer, []
    editor = TfliteEditor(flatbuffer)
    handles = editor.variables(0)
    _check_uses(graph, handles)
    begins = _beginnings(flatbuffer, graph, editor)
    assigned = {handles[op.inputs[0]] for op in graph.operators if op.name == "ASSIGN_VARIABLE"}
    current: dict[str, int] = {}
    taken: dict[str, int] = {}
    replaced: dict[int, int] = {}
    for operator in graph.operators:
        if operator.name not in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            continue
        variable = handles[operator.inputs[0]]
        if operator.name == "ASSIGN_VARIABLE":
            current[variable] = replaced.get(operator.inputs[1], operator.inputs[1])
        elif variable in current:
            replaced[operator.outputs[0]] = current[variable]
        else:
            # The first read becomes the input itself, or a constant.
            current[variable] = taken[variable] = operator.outputs[0]
            if variable not in assigned:
                editor.make_constant(operator.outputs[0], _stored(flatbuffer, begins, variable))
    plumbing = {n for n, one in enumerate(graph.operators) if one.name in _PLUMBING}
    editor.drop_operators(plumbing, replaced)
    editor.rename_outputs(replaced)
    states = [
        InnerState(
            _name(variable, number),
            taken[variable],
            current[variable],
            _initial(flatbuffer, begins, variable),
        )
        for number, variable in enumerate(name for name in taken if name in assigned)
    ]
    return editor.flatbuffer(), states


def _check_uses(graph: Graph, handles: dict[int, str]) -> None:
    for operator in graph.operators:
        used = [index for index in operator.inputs if index in handles]
        if used and operator.name not in _PLUMBING:
            raise SourceModelError(
                f"its variable '{handles[used[0]]}' is handed to {operator.name}, where it cannot "
                "be taken out as a state; convert the model again with its states as inputs and "
                "outputs"
            )
        if operator.name in ("READ_VARIABLE", "ASSIGN_VARIABLE") and (
            operator.inputs[0] not in handles
        ):
            raise SourceModelError("it reads a variable that has no name; convert the model again")


def _beginnings(flatbuffer: bytes, graph: Graph, editor: TfliteEditor) -> dict[str, Tensor]:
    """Return the constant that each variable begins with, by the variable's name."""
    found: dict[str, Tensor] = {}
    for position, operator in enumerate(graph.operators):
        if operator.name != "CALL_ONCE":
            continue
        (number,) = editor.subgraphs_of(position).values()
        handles, inner = editor.variables(number), read_graph(flatbuffer, number)
        for one in inner.operators:
            if one.name == "ASSIGN_VARIABLE" and one.inputs[0] in handles:
                value = inner.tensors[one.inputs[1]]
                if not value.constant_bytes:
                    raise SourceModelError(
                        f"its variable '{handles[one.inputs[0]]}' begins with a value that is "
                        "computed; convert the model again with its states as inputs and outputs"
                    )
                found[handles[one.inputs[0]]] = value
    return found


def _stored(flatbuffer: bytes, begins: dict[str, Tensor], variable: str) -> NDArray[Any]:
    """Return a variable's first value as stored bytes."""
    if variable not in begins:
        raise SourceModelError(
            f"its variable '{variable}' is never given a value; convert the model again from its "
            "SavedModel, which keeps their values"
        )
    tensor = begins[variable]
    return np.frombuffer(flatbuffer, np.uint8, tensor.constant_bytes, tensor.constant_start)


def _initial(flatbuffer: bytes, begins: dict[str, Tensor], variable: str) -> NDArray[Any] | None:
    tensor = begins.get(variable)
    if tensor is None:
        return None
    values = read_constant(flatbuffer, tensor)
    return values if np.any(values) else None


def _name(variable: str, number: int) -> str:
    plain = "_".join(part for part in variable.split("/") if part)
    return plain if plain.isidentifier() else f"state_{number}"
