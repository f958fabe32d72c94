"""A tensor of its own for every output of a step graph.

Where a network gives its state (it ends in a GRU), or a state is what came in the step before, the
converter makes one tensor of two: a runtime could then not read one and pass the other on, and a
GPU's signature would be malformed. A RESHAPE to the same shape separates them: it copies bytes, is
exact in every dtype, keeps scale and zero point, and is in every runtime's and accelerator's list.
It is put in here, as the converter would remove it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.tflite_editor import read_tree, write_tree

RESHAPE = schema.BuiltinOperator.RESHAPE


def with_own_outputs(flatbuffer: bytes) -> bytes:
    """The step graph, with copies where an output is a constant, an input or another output's
    tensor; the same bytes where there is none."""
    model = read_tree(flatbuffer)
    graph = model.subgraphs[0]
    signature = next(item for item in model.signatureDefs if item.subgraphIndex == 0)
    taken = {int(item.tensorIndex) for item in signature.inputs}
    taken |= {i for i, tensor in enumerate(graph.tensors) if _is_constant(model, tensor)}
    states = {item.name for item in signature.inputs}
    copied = False
    # States keep the tensor they are computed in, as their grid in and out is decided together.
    for item in sorted(signature.outputs, key=lambda item: item.name not in states):
        source = int(item.tensorIndex)
        if source in taken:
            item.tensorIndex = _add_copy(model, source, item.name)
            copied = True
        taken.add(int(item.tensorIndex))
    if not copied:
        return flatbuffer
    graph.outputs = np.array([item.tensorIndex for item in signature.outputs], np.int32)
    return write_tree(model)


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _add_copy(model: Any, source: int, name: bytes) -> int:
    """Append a RESHAPE of a tensor to its own shape; the index of the copy."""
    graph = model.subgraphs[0]
    original = graph.tensors[source]
    shape = np.array(original.shape, np.int32)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(shape.tobytes(), np.uint8)
    model.buffers.append(buffer)
    sizes = _tensor(name + b"/shape", schema.TensorType.INT32, [len(shape)])
    sizes.buffer = len(model.buffers) - 1
    copy = _tensor(name + b"/own", original.type, shape)
    graph.tensors += [sizes, copy]
    index = len(graph.tensors) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex = _reshape_code(model)
    operator.inputs = np.array([source, index - 1], np.int32)
    operator.outputs = np.array([index], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = schema.ReshapeOptionsT()
    operator.builtinOptions.newShape = shape
    graph.operators.append(operator)
    return index


def _tensor(name: bytes, kind: int, shape: Any) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape = name, kind, np.array(shape, np.int32)
    # Buffer 0 is empty by the schema's rule.
    tensor.buffer = 0
    return tensor


def _reshape_code(model: Any) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == RESHAPE:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = RESHAPE
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
