"""A signature for each phase of a hierarchical recurrence, cut out of its step graph.

The step graph updates every state. A slow recurrence is updated once in its period, and in
between its output stays what it was: it is a state. So the graph of a step in between is the same
graph where whatever reads the new value of a state that is not due reads the old one, without the
operators whose results nobody needs then. It is made of the finished graph: there is one
quantization, the weights are shared, and no branch is in any graph.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.tflite_editor import read_tree, write_tree
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.phases import phase_signatures


def with_phases(flatbuffer: bytes, periods: Mapping[str, int]) -> bytes:
    """A step graph with a further subgraph and signature for each phase; the same bytes where no
    state has a period.

    Args:
        flatbuffer: with the signature "step" on its only subgraph.
        periods: by state name, as in :class:`convert.schemes.scheme.FloatStep`.
    """
    phases = phase_signatures(periods)
    if len(phases) == 1:
        return flatbuffer
    model = read_tree(flatbuffer)
    (step,) = model.signatureDefs
    graph = model.subgraphs[0]
    for phase, name in enumerate(phases):
        if name == STEP_SIGNATURE or phases.index(name) < phase:
            continue
        idle = {state for state, period in periods.items() if phase % period}
        subgraph, signature = _without_updates(graph, step, idle)
        signature.signatureKey = subgraph.name = name.encode()
        signature.subgraphIndex = len(model.subgraphs)
        model.subgraphs.append(subgraph)
        model.signatureDefs.append(signature)
    return write_tree(model)


def _without_updates(graph: Any, step: Any, idle: Collection[str]) -> tuple[Any, Any]:
    """The subgraph and the signature of a step that does not update the states in ``idle``."""
    inputs = {item.name.decode(): int(item.tensorIndex) for item in step.inputs}
    outputs = {item.name.decode(): int(item.tensorIndex) for item in step.outputs}
    old = {outputs[state]: inputs[state] for state in idle}
    outputs = {name: index for name, index in outputs.items() if name not in idle}
    needed = set(outputs.values())
    operators = []
    for original in reversed(graph.operators):
        if not needed.intersection(map(int, original.outputs)):
            continue
        operator = copy.copy(original)
        operator.inputs = np.array([old.get(int(i), int(i)) for i in original.inputs], np.int32)
        operator.outputs = np.array(original.outputs, np.int32)
        needed.update(int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0)
        operators.append(operator)
    # A frame is given at every step, whether or not it is read.
    states = inputs.keys() & {item.name.decode() for item in step.outputs}
    inputs = {
        name: index for name, index in inputs.items() if index in needed or name not in states
    }
    kept = sorted(needed | set(inputs.values()))
    place = {index: position for position, index in enumerate(kept)} | {-1: -1}
    for operator in operators:
        operator.inputs, operator.outputs = (
            np.array([place[int(index)] for index in side], np.int32)
            for side in (operator.inputs, operator.outputs)
        )
    subgraph, signature = schema.SubGraphT(), schema.SignatureDefT()
    # Tensors name their buffers, so these are shared.
    subgraph.tensors = [graph.tensors[index] for index in kept]
    subgraph.operators = operators[::-1]
    signature.inputs = [_tensor_map(name, place[index]) for name, index in inputs.items()]
    signature.outputs = [_tensor_map(name, place[index]) for name, index in outputs.items()]
    subgraph.inputs = np.array([item.tensorIndex for item in signature.inputs], np.int32)
    subgraph.outputs = np.array([item.tensorIndex for item in signature.outputs], np.int32)
    return subgraph, signature


def _tensor_map(name: str, index: int) -> Any:
    item = schema.TensorMapT()
    item.name, item.tensorIndex = name.encode(), index
    return item
