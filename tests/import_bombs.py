"""Small model files that would make an importer take gigabytes: one of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def gru(
    nodes: Sequence[Any] = (), constants: Sequence[Any] = (), functions: Sequence[Any] = ()
) -> onnx.ModelProto:
    """A network of one GRU, to which the sum of ``big`` is added if ``nodes`` make that."""
    weights = numpy_helper.from_array(np.full((1, 12, 3), 0.1, np.float32), "W")
    recurrent = numpy_helper.from_array(np.full((1, 12, 4), 0.1, np.float32), "R")
    made = [*nodes]
    if nodes:
        made.append(helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0))
        made.append(helper.make_node("Add", ["x", "sum"], ["more"]))
    source = "more" if nodes else "x"
    made.append(helper.make_node("GRU", [source, "W", "R"], ["Y", ""], hidden_size=4))
    graph = helper.make_graph(
        made, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 1, 3))],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [weights, recurrent, *constants],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def doubled(times: int = 31) -> onnx.ModelProto:
    """A constant that is joined to itself again and again: 8 GB."""
    one = numpy_helper.from_array(np.ones(1, np.float32), "value0")
    nodes = [
        helper.make_node("Concat", [f"value{n}"] * 2, [f"value{n + 1}"], axis=0)
        for n in range(times)
    ]
    nodes.append(helper.make_node("Identity", [f"value{times}"], ["big"]))
    return gru(nodes, [one])


def padded() -> onnx.ModelProto:
    """A convolution whose padding is of gigabytes."""
    x = numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "few")
    kernel = numpy_helper.from_array(np.ones((1, 1, 1), np.float32), "kernel")
    return gru([helper.make_node("Conv", ["few", "kernel"], ["big"], pads=[5 * 10**8] * 2)],
               [x, kernel])  # fmt: skip


def functions(depth: int = 26) -> onnx.ModelProto:
    """Functions that call the one before twice: 67 million operators."""
    made = [_function(0, [helper.make_node("Identity", ["a"], ["b"])])]
    for n in range(1, depth):
        before = f"F{n - 1}"
        calls = [
            helper.make_node(before, ["a"], ["half"], domain="own"),
            helper.make_node(before, ["half"], ["b"], domain="own"),
        ]
        made.append(_function(n, calls))
    return gru([helper.make_node(f"F{depth - 1}", ["W"], ["big"], domain="own")], (), made)


def calls_itself() -> onnx.ModelProto:
    """A function that calls itself."""
    one = _function(0, [helper.make_node("F0", ["a"], ["b"], domain="own")])
    return gru([helper.make_node("F0", ["W"], ["big"], domain="own")], (), [one])


def _function(number: int, nodes: list[Any]) -> Any:
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    return helper.make_function("own", f"F{number}", ["a"], ["b"], nodes, opsets)


def without_values() -> onnx.ModelProto:
    """A constant that claims gigabytes and holds nothing."""
    return gru((), [TensorProto(name="q", data_type=TensorProto.FLOAT, dims=[20_000, 20_000])])


def texts(count: int = 300_000) -> onnx.ModelProto:
    """One long text and many empty ones, which NumPy would make as long."""
    held = TensorProto(name="t", data_type=TensorProto.STRING, dims=[count + 1])
    held.string_data.extend([b"x" * 20_000, *[b""] * count])
    return gru((), [held])


def constants(count: int = 60_000) -> onnx.ModelProto:
    """Constants without names and types, two bytes each."""
    return gru((), [TensorProto()] * count)


def beside(folder: Path, count: int = 40) -> onnx.ModelProto:
    """Constants that are all the same bytes of a file beside the network: 4 GB."""
    size = 100 * 2**20
    with (folder / "w.bin").open("wb") as file:
        file.truncate(size)
    made = []
    for number in range(count):
        tensor = TensorProto(
            name=f"e{number}", data_type=TensorProto.FLOAT, dims=[size // 4],
            data_location=TensorProto.EXTERNAL,
        )  # fmt: skip
        for key, value in (("location", "w.bin"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        made.append(tensor)
    return gru((), made)
