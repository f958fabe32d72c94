"""Make and read the small objects of TFLite's schema, for :mod:`convert.tflite_editor` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

FILE_IDENTIFIER = b"TFL3"
# The largest number that the schema's old field for an operator holds.
LARGEST_OLD_CODE = 127
SCHEMA_VERSION = 3


def schema_module() -> Any:
    # Imported here: the schema's module is long, and most commands change no flatbuffer.
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def referred_subgraphs(operator: Any) -> dict[str, int]:
    """Return the subgraphs that an operator's options name, by field."""
    options = getattr(operator.builtinOptions, "__dict__", {})
    return {
        field: int(number)
        for field, number in options.items()
        if field == "subgraph" or field.endswith("SubgraphIndex")
    }


def written(tree: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def operator_code(number: int, version: int) -> Any:
    code = schema_module().OperatorCodeT()
    code.deprecatedBuiltinCode = min(number, LARGEST_OLD_CODE)
    code.builtinCode, code.version = number, version
    return code


def new_tensor(name: str, kind: int, shape: Any) -> Any:
    tensor = schema_module().TensorT()
    tensor.name, tensor.type, tensor.shape = name.encode(), kind, np.array(shape, np.int32)
    # Buffer 0 is empty by the schema's rule.
    tensor.buffer = 0
    return tensor


def tensor_maps(tensors: Mapping[str, int]) -> list[Any]:
    items = []
    for name, index in tensors.items():
        item = schema_module().TensorMapT()
        item.name, item.tensorIndex = name.encode(), index
        items.append(item)
    return items


def renamed(tensors: Iterable[int], names: Mapping[int, int]) -> NDArray[np.int32]:
    return index_array(names.get(int(index), int(index)) for index in tensors)


def index_array(tensors: Iterable[int]) -> NDArray[np.int32]:
    return np.array([int(index) for index in tensors], np.int32)


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(values.tobytes(), np.uint8)


def naming_model(codes: Iterable[tuple[int, int]], use: bool = False) -> bytes:
    """Make a TFLite file that names operators without computing anything.

    Args:
        codes: schema number and version of each operator.
        use: whether the graph also has one operator of each.
    """
    schema = schema_module()
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.operatorCodes = [operator_code(number, version) for number, version in codes]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = [new_tensor("x", 0, [1, 1])], [0], [0]
    graph.operators = []
    for index in range(len(model.operatorCodes) if use else 0):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, [0], [0]
        if model.operatorCodes[index].builtinCode == schema.BuiltinOperator.VAR_HANDLE:
            # TensorFlow Lite Micro reads these options whether they are there or not.
            operator.builtinOptionsType = schema.BuiltinOptions.VarHandleOptions
            operator.builtinOptions = schema.VarHandleOptionsT()
            operator.builtinOptions.container = operator.builtinOptions.sharedName = b"v"
        graph.operators.append(operator)
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    return written(model)
