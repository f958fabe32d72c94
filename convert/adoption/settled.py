"""Fix a graph's shapes at one frame, and compute once what no input changes.

A converter leaves a batch or a number of steps open, and computes shapes from it at every step. Of
one frame these are constants: the interpreter computes them, and they are written into the graph.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import SourceModelError
from convert.tflite_editor import TfliteEditor
from device_runner.errors import one_line
from device_runner.model.flatbuffer import Graph, Operator, read_graph

# Constants that are computed here may take this much.
FOLDED_LIMIT_BYTES = 64 * 1024 * 1024
# What depends on more than its operands, or holds subgraphs.
_NOT_FOLDED = frozenset(
    ("WHILE", "IF", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE",
     "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL")
)  # fmt: skip
# Operators that hand all values on in their order if the count stays the same.
_MOVING = frozenset(
    ("UNPACK", "PACK", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V",
     "CONCATENATION", "RESHAPE")
)  # fmt: skip


def settled(flatbuffer: bytes, whole: bool = False) -> bytes:
    """Return a graph of fixed shapes without what could be computed beforehand.

    Args:
        flatbuffer: its first subgraph is the step; open axes of its inputs count as 1.
        whole: whether constants are also dequantized, and what only moves values becomes RESHAPE,
            as integer schemes need it.

    Raises:
        SourceModelError: the interpreter does not compute a step of it.
    """
    for _ in range(8):  # what is folded may make more shapes known
        flatbuffer = _without_empty(flatbuffer)
        graph = read_graph(flatbuffer)
        fixed = all(tensor.static_shape for tensor in graph.tensors)
        folded = _foldable(graph, whole)
        if fixed and not folded:
            return _plain_moves(flatbuffer) if whole else flatbuffer
        flatbuffer = _folded(flatbuffer, graph, folded)
    return flatbuffer


def without_idle(flatbuffer: bytes) -> bytes:
    """Remove the operators whose results nothing uses."""
    graph = read_graph(flatbuffer)
    used, idle = set(graph.outputs), set()
    for position in reversed(range(len(graph.operators))):
        operator = graph.operators[position]
        if operator.outputs and not used & set(operator.outputs):
            idle.add(position)
        else:
            used.update(operator.inputs)
    if not idle:
        return flatbuffer
    editor = TfliteEditor(flatbuffer)
    editor.drop_operators(idle, {})
    return editor.flatbuffer()


def _foldable(graph: Graph, whole: bool) -> list[int]:
    """List the positions of the operators whose result no input changes."""
    constant = {tensor.index for tensor in graph.tensors if tensor.constant_bytes}
    positions = []
    for position, operator in enumerate(graph.operators):
        operands = [index for index in operator.inputs if index >= 0]
        known = operands and all(index in constant for index in operands)
        if operator.name in ("SHAPE", "RANK") and graph.tensors[operands[0]].static_shape:
            known = True
        if operator.name in _NOT_FOLDED or operator.name.startswith("CUSTOM:") or not known:
            continue
        if operator.name == "DEQUANTIZE" and not whole:
            continue  # weights stored narrow stay so
        if any(0 in graph.tensors[index].shape for index in operator.outputs):
            continue
        positions.append(position)
        constant.update(operator.outputs)
    return positions


def _folded(flatbuffer: bytes, graph: Graph, positions: list[int]) -> bytes:
    """Write the shapes that a step has, and the values of some operators' results."""
    shapes, values = _computed(flatbuffer, graph, positions)
    editor = TfliteEditor(flatbuffer)
    editor.set_shapes(
        {
            index: shape
            for index, shape in shapes.items()
            if not graph.tensors[index].constant_bytes
            and graph.tensors[index].dtype not in ("resource", "variant", "string")
        }
    )
    size = sum(value.nbytes for value in values.values())
    if size > FOLDED_LIMIT_BYTES:
        raise SourceModelError(f"it computes {size:,} bytes of constants; export it anew")
    for index, value in values.items():
        editor.make_constant(index, value)
    done = {n for n in positions if set(graph.operators[n].outputs) <= set(values)}
    editor.drop_operators(done, {})
    return editor.flatbuffer()


def _without_empty(flatbuffer: bytes) -> bytes:
    """Replace joins of one part with empty ones, which a loop over one frame leaves, by RESHAPE."""
    graph = read_graph(flatbuffer)
    editor, found = TfliteEditor(flatbuffer), False
    for position, operator in enumerate(graph.operators):
        full = [index for index in operator.inputs if 0 not in graph.tensors[index].shape]
        shape = graph.tensors[operator.outputs[0]].shape if operator.outputs else ()
        if operator.name != "CONCATENATION" or len(full) != 1 or len(operator.inputs) == 1:
            continue
        if graph.tensors[full[0]].shape != shape or not all(
            graph.tensors[index].static_shape for index in operator.inputs
        ):
            continue
        sizes = editor.add_indices(f"joined/{position}", list(shape))
        options = {"newShape": np.array(shape, np.int32)}
        editor.insert_operator(
            position, "RESHAPE", [full[0], sizes], operator.outputs, ("ReshapeOptions", options)
        )
        editor.drop_operators({position + 1}, {})
        found = True
    return without_idle(editor.flatbuffer()) if found else flatbuffer


def _computed(
    flatbuffer: bytes, graph: Graph, positions: list[int]
) -> tuple[dict[int, tuple[int, ...]], dict[int, NDArray[Any]]]:
    """Compute a step from zeros; return the shapes of all tensors, and some results."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_content=flatbuffer,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for index in graph.inputs:
            shape = [max(1, n) for n in graph.tensors[index].shape]
            interpreter.resize_tensor_input(index, shape)
        interpreter.allocate_tensors()
        for index in graph.inputs:
            tensor = graph.tensors[index]
            shape = [max(1, n) for n in tensor.shape]
            interpreter.set_tensor(index, np.zeros(shape, tensor.dtype))
        interpreter.invoke()
        details = {item["index"]: item for item in interpreter.get_tensor_details()}
        shapes = {
            tensor.index: tuple(int(n) for n in details[tensor.index]["shape"])
            for tensor in graph.tensors
            if tensor.index in details
        }
        results = {
            index: np.array(interpreter.get_tensor(index))
            for position in positions
            for index in graph.operators[position].outputs
            if 0 not in shapes.get(index, ())  # the interpreter does not give these
        }
    except (RuntimeError, ValueError) as error:
        raise SourceModelError(
            f"the interpreter does not compute a step of it ({one_line(error)}); convert the model "
            "again"
        ) from error
    return shapes, results


def _plain_moves(flatbuffer: bytes) -> bytes:
    """Replace what hands values on unchanged by RESHAPE, which integers have everywhere."""
    graph = read_graph(flatbuffer)
    operators = enumerate(graph.operators)
    positions = [position for position, operator in operators if _only_moves(graph, operator)]
    if not positions:
        return flatbuffer
    editor = TfliteEditor(flatbuffer)
    for position in positions:
        operator = graph.operators[position]
        if operator.name == "SPLIT_V":
            _split_evenly(editor, graph, position)
            continue
        source = _data(graph, operator)
        shape = graph.tensors[operator.outputs[0]].shape
        sizes = editor.add_indices(f"sizes/{position}", list(shape))
        editor.insert_operator(
            position, "RESHAPE", [source, sizes], operator.outputs,
            ("ReshapeOptions", {"newShape": np.array(shape, np.int32)}),
        )  # fmt: skip
        editor.drop_operators({position + 1}, {})
    return editor.flatbuffer()


def _split_evenly(editor: TfliteEditor, graph: Graph, position: int) -> None:
    """Replace SPLIT_V into equal parts by SPLIT."""
    operator = graph.operators[position]
    data, _, axis = operator.inputs
    options = {"numSplits": len(operator.outputs)}
    editor.insert_operator(
        position, "SPLIT", [axis, data], operator.outputs, ("SplitOptions", options)
    )
    editor.drop_operators({position + 1}, {})


def _data(graph: Graph, operator: Operator) -> int:
    """Return the tensor whose values an operator moves: the one that is not constant."""
    moving = [i for i in operator.inputs if i >= 0 and not graph.tensors[i].constant_bytes]
    return moving[0] if len(moving) == 1 else -1


def _only_moves(graph: Graph, operator: Operator) -> bool:
    if operator.name == "SPLIT_V" and len(operator.inputs) == 3:
        shapes = {graph.tensors[index].shape for index in operator.outputs}
        return len(operator.outputs) > 1 and len(shapes) == 1
    source = _data(graph, operator)
    if source < 0 or len(operator.outputs) != 1 or operator.name == "RESHAPE":
        return False
    taken, given = graph.tensors[source], graph.tensors[operator.outputs[0]]
    if (taken.dtype, math.prod(taken.shape)) != (given.dtype, math.prod(given.shape)):
        return False
    if operator.name == "TRANSPOSE":
        long = [n for n in taken.shape if n > 1]
        return len(long) < 2
    if operator.name == "GATHER":
        axis = int(operator.options.get("axis", 0))
        first = operator.inputs[0] == source
        return first and -len(taken.shape) <= axis < len(taken.shape) and taken.shape[axis] == 1
    return operator.name in _MOVING
