"""Check the graph against its contract before a runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from device_runner.errors import BadModelError
from device_runner.model.contract import Contract
from device_runner.model.flatbuffer import Graph, Tensor, read_graph
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.tensor_spec import TensorSpec

# The most that all tensors of a step may take; a small device has far less memory.
TENSOR_LIMIT_BYTES = 1024 * 1024 * 1024


def check_contract(graph: Graph, contract: Contract) -> None:
    """Check that the tensors of the signature "step" are what the contract says.

    Raises:
        BadModelError: a name, shape, dtype, scale or zero point differs, or a state is unpaired.
    """
    _check_size(graph)
    signature = graph.signature(STEP_SIGNATURE)
    if signature.subgraph != 0:
        raise BadModelError("the step signature is not the first subgraph; export it again")
    states = {state.name for state in contract.states}
    for side, tensors, specs in (
        ("inputs", signature.inputs, contract.inputs),
        ("outputs", signature.outputs, contract.outputs),
    ):
        names = states | {spec.name for spec in specs}
        if set(tensors) != names:
            raise BadModelError(
                f"unpaired states: the step's {side} are {sorted(tensors)}, "
                f"the contract names {sorted(names)}; export the model again"
            )
        if len(set(tensors.values())) != len(tensors):
            raise BadModelError(f"two {side} of the step are one tensor; export the model again")
    for index in (*signature.inputs.values(), *signature.outputs.values()):
        _check_variable(graph.tensors[index])
    for spec in contract.inputs:
        _check_tensor(spec, graph.tensors[signature.inputs[spec.name]], "input")
        if spec.vocabulary is not None:
            _check_tables(graph, signature.inputs[spec.name], spec)
    for spec in contract.outputs:
        _check_tensor(spec, graph.tensors[signature.outputs[spec.name]], "output")
    for state in contract.states:
        _check_tensor(state, graph.tensors[signature.inputs[state.name]], "state-in")
        _check_tensor(state, graph.tensors[signature.outputs[state.name]], "state-out")


def phase_graphs(flatbuffer: bytes, graph: Graph, contract: Contract) -> dict[str, Graph]:
    """Read the graph of each of the contract's phases, by signature.

    Args:
        flatbuffer: the TFLite model.
        graph: the graph of "step", which is already read.
        contract: the contract with the phases.

    Raises:
        BadModelError: a signature is missing, or a graph is damaged.
    """
    others = {
        name: read_graph(flatbuffer, graph.signature(name).subgraph)
        for name in dict.fromkeys(contract.phases)
        if name != STEP_SIGNATURE
    }
    return {STEP_SIGNATURE: graph, **others}


def check_phases(graphs: Mapping[str, Graph], contract: Contract) -> None:
    """Check that each phase takes and gives what the contract says, stored as for "step".

    Raises:
        BadModelError: an input, output or due state is missing, or one differs.
    """
    inputs: dict[str, TensorSpec] = {
        spec.name: spec for spec in (*contract.inputs, *contract.states)
    }
    phases = contract.phases
    for name, graph in graphs.items():
        _check_size(graph)
        signature = graph.signature(name)
        phase = phases.index(name)
        due = [state for state in contract.states if phase % state.period == 0]
        given: dict[str, TensorSpec] = {spec.name: spec for spec in (*contract.outputs, *due)}
        if not set(signature.inputs) <= set(inputs) or set(signature.outputs) != set(given):
            raise BadModelError(
                f"signature '{name}' takes {sorted(signature.inputs)} and gives "
                f"{sorted(signature.outputs)}, not what the contract says; export the model again"
            )
        for side, indices, specs in (
            ("input", signature.inputs, inputs),
            ("output", signature.outputs, given),
        ):
            if len(set(indices.values())) != len(indices):
                raise BadModelError(f"two {side}s of '{name}' are one tensor; export it again")
            for key, index in indices.items():
                _check_variable(graph.tensors[index])
                _check_tensor(specs[key], graph.tensors[index], f"{name}'s {side}")


def _check_tables(graph: Graph, index: int, spec: TensorSpec) -> None:
    """Check that every table that a token id chooses from has a row for each id.

    Otherwise a runtime fails, or reads beyond the table, in the middle of a stream."""
    # Imported here: a start that reads no file needs no operators.
    from device_runner.operators import OPERATORS

    ids = {index}
    for operator in graph.operators:
        row = OPERATORS.get(operator.name)
        if row is not None and row.passes_ids and operator.inputs[0] in ids:
            ids.update(operator.outputs)
        if operator.name == "GATHER" and operator.inputs[1] in ids:
            table = graph.tensors[operator.inputs[0]].shape
            axis = int(operator.options.get("axis", 0))
            if not -len(table) <= axis < len(table) or table[axis] < (spec.vocabulary or 0):
                raise BadModelError(
                    f"input '{spec.name}' has a vocabulary of {spec.vocabulary}, its table is of "
                    f"shape {table}; export the model again"
                )


def _check_size(graph: Graph) -> None:
    needed = sum(max(0, tensor.byte_count or 0) for tensor in graph.tensors)
    if needed > TENSOR_LIMIT_BYTES:
        raise BadModelError(
            f"its tensors take {needed:,} bytes, a step model's {TENSOR_LIMIT_BYTES:,} at most; "
            "export or copy it again"
        )


def _check_variable(tensor: Tensor) -> None:
    if tensor.constant_bytes or not tensor.static_shape:
        raise BadModelError(
            f"tensor '{tensor.name}', which the step takes or gives, is constant or of dynamic "
            "shape; export the model again"
        )


def _check_tensor(spec: TensorSpec, tensor: Tensor, role: str) -> None:
    found: dict[str, Any] = {
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if tensor.scales else None,
        "zero point": tensor.zero_points[0] if tensor.zero_points else None,
    }
    promised: dict[str, Any] = {
        "shape": spec.shape,
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero point": spec.zero_point,
    }
    for what, value in found.items():
        if value != promised[what]:
            raise BadModelError(
                f"{role} '{spec.name}' has {what} {value}, the contract says {promised[what]}; "
                "export the model again"
            )
