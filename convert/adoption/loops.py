"""Unroll the loops of a step: a converter leaves a loop over time even where there is one frame.

Whether the loop goes on is computed from its counters, which begin as constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.tflite_editor import TfliteEditor
from device_runner.errors import BadModelError
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import Graph, Tensor, read_graph

# Longer loops stay as they are.
MOST_ROUNDS = 64
Values = NDArray[Any]
# What loops count and compare with.
_COUNTING: dict[str, Callable[..., Any]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "LESS": np.less,
    "LESS_EQUAL": np.less_equal, "GREATER": np.greater, "GREATER_EQUAL": np.greater_equal,
    "EQUAL": np.equal, "NOT_EQUAL": np.not_equal, "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or, "LOGICAL_NOT": np.logical_not, "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum, "SQUEEZE": np.squeeze,
}  # fmt: skip


def without_loops(flatbuffer: bytes) -> bytes:
    """Unroll each loop of the first subgraph that ends after a known, small number of rounds."""
    place = 0
    while True:
        graph = read_graph(flatbuffer)
        loops = [n for n, one in enumerate(graph.operators) if one.name == "WHILE" and n >= place]
        if not loops:
            return flatbuffer
        unrolled = _unrolled(flatbuffer, graph, loops[0])
        place = loops[0] if unrolled is not None else loops[0] + 1
        flatbuffer = unrolled or flatbuffer


def _unrolled(flatbuffer: bytes, graph: Graph, position: int) -> bytes | None:
    """Unroll the loop at ``position``; None if it is not known when it ends."""
    editor = TfliteEditor(flatbuffer)
    parts = editor.subgraphs_of(position)
    condition, body = (
        read_graph(flatbuffer, parts[name]) for name in ("condSubgraphIndex", "bodySubgraphIndex")
    )
    operator = graph.operators[position]
    current = list(operator.inputs)
    known = [_constant(flatbuffer, graph.tensors[index]) for index in current]
    end = position
    for _ in range(MOST_ROUNDS + 1):
        (goes_on,) = _evaluated(flatbuffer, condition, known)
        if goes_on is None:
            return None
        if not bool(np.all(goes_on)):
            break
        before = len(read_graph(editor.flatbuffer()).operators)
        current = editor.inline(end, parts["bodySubgraphIndex"], current)
        end += len(read_graph(editor.flatbuffer()).operators) - before
        known = _evaluated(flatbuffer, body, known)
    else:
        return None
    replaced = dict(zip(operator.outputs, current, strict=True))
    editor.drop_operators({end}, replaced)
    editor.rename_outputs(replaced)
    return editor.flatbuffer()


def _evaluated(
    flatbuffer: bytes, graph: Graph, arguments: Sequence[Values | None]
) -> list[Values | None]:
    """Compute a subgraph's outputs from the arguments that are known; None for the others."""
    values: dict[int, Values | None] = {
        tensor.index: _constant(flatbuffer, tensor) for tensor in graph.tensors
    }
    values.update(dict(zip(graph.inputs, arguments, strict=True)))
    for operator in graph.operators:
        operands = [values.get(index) for index in operator.inputs]
        compute = _COUNTING.get(operator.name)
        if compute is not None and all(operand is not None for operand in operands):
            values[operator.outputs[0]] = np.asarray(compute(*operands))
    return [values.get(index) for index in graph.outputs]


def _constant(flatbuffer: bytes, tensor: Tensor) -> Values | None:
    """Read a small constant of whole numbers; None for anything else."""
    if not tensor.constant_bytes or tensor.constant_bytes > 64 or tensor.scales:
        return None
    if tensor.dtype == "bool":
        start = tensor.constant_start
        return np.frombuffer(flatbuffer, bool, tensor.constant_bytes, start)
    if tensor.dtype not in ("int32", "int64"):
        return None
    try:
        return read_constant(flatbuffer, tensor)
    except BadModelError:
        return None
