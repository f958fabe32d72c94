"""Make a model that is fixed to sequences of one length compute sequences of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convert.importers.onnx.network import Port
from convert.importers.onnx.time_axis import Followed

TIME = "time_of_any_length"


def with_free_length(model: Any, followed: Followed, inputs: Sequence[Port]) -> Any:
    """Return a copy whose axes of time have any length; the model itself if they have already.

    Shapes that time passes through are written anew, with time as the size to be found."""
    import onnx
    from onnx import numpy_helper

    fixed = {
        port.name: axis
        for port in inputs
        if (axis := followed.axes[port.name]) is not None and isinstance(port.shape[axis], int)
    }
    if not fixed:
        return model
    free = onnx.ModelProto()
    free.CopyFrom(model)
    graph = free.graph
    del graph.value_info[:]
    for value in graph.input:
        if value.name in fixed:
            value.type.tensor_type.shape.dim[fixed[value.name]].dim_param = TIME
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    for node in graph.node:
        target = followed.trace.targets.get(node.output[0] if node.output else "")
        if target is None or node.op_type != "Reshape":
            continue
        name = f"{node.output[0]}:shape_of_any_length"
        graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), name))
        del node.input[1:]
        node.input.append(name)
    return free
