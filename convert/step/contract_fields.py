"""Describe a step graph's inputs, outputs and states as its contract does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from convert.errors import ContractViolationError
from convert.schemes.scheme import FloatStep
from device_runner.model.flatbuffer import Graph, Tensor
from device_runner.model.names import INPUT_NAME, OUTPUT_NAME, STEP_SIGNATURE
from device_runner.model.tensor_spec import StateSpec, TensorSpec


class ContractFields(TypedDict):
    """Those fields of :class:`device_runner.model.contract.Contract` that its graph tells."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...]


def contract_fields(graph: Graph, step: FloatStep) -> ContractFields:
    """Describe a step graph's inputs, outputs and states as its contract does.

    A name on both sides of the signature is a state. Inputs and outputs are in the step's order.

    Args:
        graph: the graph of ``step``, or what a scheme made of it, with the signature ``step``.
        step: tells where the states begin and which inputs are token ids.

    Raises:
        ContractViolationError: an initial value or period is given for something that is not a
            state, an initial value has another shape, or a vocabulary is not an input's.
    """
    signature = graph.signature(STEP_SIGNATURE)
    states = [name for name in signature.inputs if name in signature.outputs]
    inputs = _ordered(step.inputs or (INPUT_NAME,), signature.inputs, states)
    outputs = _ordered(step.outputs or (OUTPUT_NAME,), signature.outputs, states)
    for names, known in (
        (step.initial, states),
        (step.periods, states),
        (step.vocabularies, inputs),
    ):
        if unknown := [name for name in names if name not in known]:
            raise ContractViolationError(
                f"'{unknown[0]}' is none of the step graph's {', '.join(known)}; "
                "name it as the signature does"
            )
    return {
        "inputs": tuple(
            TensorSpec(
                **_facts(name, graph.tensors[signature.inputs[name]]),
                vocabulary=step.vocabularies.get(name),
            )
            for name in inputs
        ),
        "outputs": tuple(
            TensorSpec(**_facts(name, graph.tensors[signature.outputs[name]])) for name in outputs
        ),
        "states": tuple(
            replace(
                _state(name, graph.tensors[signature.inputs[name]], step.initial.get(name)),
                period=step.periods.get(name, 1),
            )
            for name in states
        ),
    }


def _ordered(first: Sequence[str], names: Iterable[str], states: Sequence[str]) -> list[str]:
    """Return the names that are no states, those in ``first`` in its order in front."""
    chosen = [name for name in names if name not in states]
    return sorted(chosen, key=lambda name: first.index(name) if name in first else len(first))


def _state(name: str, tensor: Tensor, initial: NDArray[Any] | None) -> StateSpec:
    spec = StateSpec(**_facts(name, tensor))
    if initial is None or not np.any(initial):
        return spec
    # One row of them, whatever the number of rows.
    if np.shape(initial) != (1, *spec.shape[1:]):
        raise ContractViolationError(
            f"state '{name}' of shape {spec.shape} has initial values of shape {np.shape(initial)}"
        )
    with np.errstate(over="ignore"):  # the lowest value of float32 becomes that of the grid
        stored = spec.quantize(initial).ravel().tolist()
    return StateSpec(**_facts(name, tensor), initial=tuple(stored))


def _facts(name: str, tensor: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if tensor.scales else None,
        "zero_point": tensor.zero_points[0] if tensor.zero_points else None,
    }
