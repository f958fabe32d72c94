"""Give every output of a step graph a tensor of its own.

If a network gives its state (it ends in a GRU), or a state is just the last input, the converter
uses one tensor for both. A runtime could then not read one and pass the other on, and a GPU's
signature would be malformed. A RESHAPE to the same shape separates them: it copies bytes, is exact
in every dtype, keeps scale and zero point, and every runtime and accelerator has it. It is added
here because the converter would remove it.
"""

from __future__ import annotations

from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import read_graph


def with_own_outputs(flatbuffer: bytes) -> bytes:
    """Copy each output that shares its tensor with a constant, an input or another output.

    Returns:
        The changed step graph, or the same bytes if nothing is shared.
    """
    graph = read_graph(flatbuffer)
    signature = next(item for item in graph.signatures if item.subgraph == 0)
    taken = set(signature.inputs.values())
    taken |= {tensor.index for tensor in graph.tensors if tensor.constant_bytes}
    shared = []
    # States keep their tensor, as their in and out grids are decided together.
    for name in sorted(signature.outputs, key=lambda name: name not in signature.inputs):
        if signature.outputs[name] in taken:
            shared.append(name)
        taken.add(signature.outputs[name])
    if not shared:
        return flatbuffer
    editor = TfliteEditor(flatbuffer)
    copies = {name: editor.add_copy(signature.outputs[name], name) for name in shared}
    editor.set_outputs({**signature.outputs, **copies})
    return editor.flatbuffer()
