"""A tensor of its own for every output of a step graph.

Where a network gives its state (it ends in a GRU), or a state is what came in the step before, the
converter makes one tensor of two: a runtime could then not read one and pass the other on, and a
GPU's signature would be malformed. A RESHAPE to the same shape separates them: it copies bytes, is
exact in every dtype, keeps scale and zero point, and is in every runtime's and accelerator's list.
It is put in here, as the converter would remove it.
"""

from __future__ import annotations

from convert.tflite_editor import TfliteEditor
from device_runner.model.flatbuffer import read_graph


def with_own_outputs(flatbuffer: bytes) -> bytes:
    """The step graph, with copies where an output is a constant, an input or another output's
    tensor; the same bytes where there is none."""
    graph = read_graph(flatbuffer)
    signature = next(item for item in graph.signatures if item.subgraph == 0)
    taken = set(signature.inputs.values())
    taken |= {tensor.index for tensor in graph.tensors if tensor.constant_bytes}
    shared = []
    # States keep the tensor they are computed in, as their grid in and out is decided together.
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
