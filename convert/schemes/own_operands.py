"""Give every operand of an operator a tensor of its own, as the quantizer needs it.

The converter stores equal constants once. Where values are padded alike, the same zeros are operands
of one CONCATENATION twice, or of several, and the quantizer would quantize them more than once.
"""

from __future__ import annotations

from convert.tflite_editor import TfliteEditor
from convert.tflite_objects import index_array
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph


def with_own_operands(flatbuffer: bytes) -> bytes:
    """Copy each float32 constant that is joined to other values a second time.

    Returns:
        The changed step graph, or the same bytes if none is.
    """
    graph = read_graph(flatbuffer)
    seen: set[int] = set()
    twice = []
    for position, operator in enumerate(graph.operators):
        for place, index in enumerate(operator.inputs):
            tensor = graph.tensors[index]
            if operator.name != "CONCATENATION" or not tensor.constant_bytes:
                continue
            if index in seen and tensor.dtype == "float32":
                twice.append((position, place))
            seen.add(index)
    if not twice:
        return flatbuffer
    editor = TfliteEditor(flatbuffer)
    for position, place in twice:
        index = graph.operators[position].inputs[place]
        tensor = graph.tensors[index]
        values = read_constant(flatbuffer, tensor)
        name = f"{tensor.name}_operand_{position}_{place}"
        copy = editor.add_tensor(name, tensor.shape, index, values)
        called = editor.tree.subgraphs[0].operators[position]
        called.inputs = index_array([*called.inputs[:place], copy, *called.inputs[place + 1 :]])
    return editor.flatbuffer()
