"""Give every operand of an operator a tensor of its own, as the quantizer needs it.

The converter stores equal constants once. Where a value is padded alike on both sides, the same
zeros are two operands of one CONCATENATION, and the quantizer would quantize them twice.
"""

from __future__ import annotations

from convert.tflite_editor import TfliteEditor
from convert.tflite_objects import index_array
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph


def with_own_operands(flatbuffer: bytes) -> bytes:
    """Copy each float32 constant that an operator reads a second time.

    Returns:
        The changed step graph, or the same bytes if no operator does so.
    """
    graph = read_graph(flatbuffer)
    twice = [
        (position, place)
        for position, operator in enumerate(graph.operators)
        for place, index in enumerate(operator.inputs)
        if index in operator.inputs[:place]
        and graph.tensors[index].constant_bytes
        and graph.tensors[index].dtype == "float32"
    ]
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
