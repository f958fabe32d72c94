"""A TFLite flatbuffer as a tree of objects that can be changed, and back."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

FILE_IDENTIFIER = b"TFL3"


def read_tree(flatbuffer: bytes) -> Any:
    """The ``ModelT`` of a flatbuffer, as TFLite's schema names its fields."""
    # Here and below: the schema's module is long, and most commands change no flatbuffer.
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0))


def write_tree(model: Any) -> bytes:
    """The flatbuffer of a ``ModelT``."""
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def constant(model: Any, index: int) -> np.ndarray | None:
    """Values of a float32 or int32 constant of the first subgraph, in its shape; None where the
    tensor is computed or an input."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    dtype = np.float32 if tensor.type == schema.TensorType.FLOAT32 else np.int32
    return np.frombuffer(bytes(bytearray(data)), dtype).reshape(tensor.shape)
