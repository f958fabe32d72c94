"""Rewrite a model in float16 or in quantized integers so that it computes in float32.

A step is computed in float32 first and quantized anew, by scales that are calibrated on its own
states. What the file's numbers say is kept: weights are taken as the real numbers that they stand
for, and where an activation was rounded to integers, it is cut to the range that those had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import UnsupportedLayerError

HALVES = ("float16", "bfloat16", "float64")


def in_real_numbers(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a model that computes in float32, and what that changes, in words.

    It is the same model if it does so already.

    Raises:
        UnsupportedLayerError: an operator's quantization is not known.
    """
    import onnx

    kinds = {node.op_type for graph in _graphs(model.graph) for node in graph.node}
    types = {_type_name(code) for code in _types(model)}
    quantized = (kinds & set(RULES)) - {"Pad"}
    other = [name for name in HALVES if name in types]
    if not quantized and not other:
        return model, ()
    made = onnx.ModelProto()
    made.CopyFrom(model)
    changed = []
    if other:
        for graph in _graphs(made.graph):
            _to_float32(graph)
        changed.append(f"computed in float32; the file computes in {other[0]}")
    if quantized:
        for graph in _graphs(made.graph):
            _Quantized(graph).rewrite()
        changed.append(
            "weights in integers are taken as the real numbers that they stand for; activations "
            "are not rounded, but cut to the range that the file gives them: they are quantized "
            "anew"
        )
    return made, tuple(changed)


def _graphs(graph: Any) -> Iterator[Any]:
    """List a graph and those within it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _type_name(code: int) -> str:
    from onnx import TensorProto

    names: dict[int, str] = {
        int(TensorProto.FLOAT16): "float16",
        int(TensorProto.BFLOAT16): "bfloat16",
        int(TensorProto.DOUBLE): "float64",
    }
    return names.get(code, "")


def _types(model: Any) -> Iterator[int]:
    """List the types of the numbers that a model computes with."""
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output):
            yield value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            yield tensor.data_type
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t.data_type
                if attribute.name == "to":
                    yield attribute.i


def _to_float32(graph: Any) -> None:
    """Make all numbers of a graph float32."""
    from onnx import TensorProto

    for value in (*graph.input, *graph.output, *graph.value_info):
        if _type_name(value.type.tensor_type.elem_type):
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in graph.initializer:
        _tensor_to_float32(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _tensor_to_float32(attribute.t)
            if attribute.name in ("to", "dtype") and _type_name(attribute.i):
                attribute.i = TensorProto.FLOAT


def _tensor_to_float32(tensor: Any) -> None:
    from onnx import numpy_helper

    if _type_name(tensor.data_type):
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


class _Quantized:
    """A graph of quantized values, rewritten so that each is the real number it stands for."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                array = numpy_helper.to_array(node.attribute[0].t)
                self.constants[node.output[0]] = array
        self.nodes: list[Any] = []
        self.added: dict[str, NDArray[Any]] = {}

    def rewrite(self) -> None:
        """Replace the graph's nodes."""
        from onnx import numpy_helper

        for node in self.graph.node:
            rule = RULES.get(node.op_type)
            if rule is None:
                self.nodes.append(node)
            else:
                rule(self, node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        for name, array in self.added.items():
            self.graph.initializer.append(numpy_helper.from_array(array, name))
        del self.graph.value_info[:]

    def constant(self, node: Any, position: int) -> NDArray[Any]:
        """Return a scale, a zero point or a weight, which must be constant."""
        name = node.input[position] if position < len(node.input) else ""
        if name not in self.constants:
            raise UnsupportedLayerError(
                f"operator '{(node.name or node.output[0])[:80]}' ({node.op_type}) has a scale or "
                "a weight that is computed; export the float32 network, which is quantized here"
            )
        return self.constants[name]

    def real(self, node: Any, position: int, axis: int = 0) -> str:
        """Name the real numbers of input ``position``, whose scale and zero point follow it."""
        name = str(node.input[position])
        if name not in self.constants:
            return name
        scale = self.constant(node, position + 1).astype(np.float32)
        has_zero = position + 2 < len(node.input) and node.input[position + 2]
        zero = self.constant(node, position + 2) if has_zero else np.zeros(1)
        return self.put(f"{name}:real", _real(self.constants[name], scale, zero, axis))

    def put(self, name: str, array: Any) -> str:
        """Add a constant."""
        self.added[name] = np.array(array, np.float32)
        return name

    def call(self, kind: str, node: Any, inputs: list[str], output: str) -> None:
        """Add a call with the attributes of a node."""
        from onnx import helper

        made = helper.make_node(kind, inputs, [output], f"{output}:{kind}")
        known = ("axis", "block_size", "saturate", "output_dtype", "channels_last", "precision")
        made.attribute.extend(item for item in node.attribute if item.name not in known)
        self.nodes.append(made)

    def plain(self, kind: str, inputs: list[str], output: str) -> None:
        """Add a call without attributes."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}:{kind}"))

    def cut(self, node: Any, value: str, output: str, scale: int) -> None:
        """Cut a value to the range of the integers it was rounded to."""
        step = self.constant(node, scale).astype(np.float32)
        has_zero = scale + 1 < len(node.input) and node.input[scale + 1]
        zero = self.constant(node, scale + 1) if has_zero else np.zeros((), np.uint8)
        limits = np.iinfo(zero.dtype)
        low, high = (
            np.float32(np.min(step * (end - zero.astype(np.float32))))
            if end == limits.min
            else np.float32(np.max(step * (end - zero.astype(np.float32))))
            for end in (limits.min, limits.max)
        )
        names = [self.put(f"{output}:low", low), self.put(f"{output}:high", high)]
        self.plain("Clip", [value, *names], output)


def _real(array: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the real numbers that integers stand for; scales may be those of an axis."""
    if scale.size > 1:
        wide = [-1 if place == axis % array.ndim else 1 for place in range(array.ndim)]
        scale, zero = scale.reshape(wide), zero.reshape(wide) if zero.size > 1 else zero
    return np.asarray((array.astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)


def _axis(node: Any) -> int:
    return next((item.i for item in node.attribute if item.name == "axis"), 1)


def _quantize(graph: _Quantized, node: Any) -> None:
    graph.cut(node, node.input[0], node.output[0], 1)


def _dequantize(graph: _Quantized, node: Any) -> None:
    graph.plain("Identity", [graph.real(node, 0, _axis(node))], node.output[0])


def _dynamic_quantize(graph: _Quantized, node: Any) -> None:
    """Its scale and zero point are computed from the values: 1 and 0 stand for them."""
    graph.plain("Identity", [node.input[0]], node.output[0])
    for output, number in zip(node.output[1:], (1.0, 0.0), strict=True):
        graph.added[output] = np.array(number, np.float32)


def _integer_product(kind: str) -> Callable[[_Quantized, Any], None]:
    """MatMulInteger and ConvInteger: the scales come later, as products of real numbers."""

    def rule(graph: _Quantized, node: Any) -> None:
        names = []
        for position in (0, 1):
            name = node.input[position]
            if name in graph.constants:
                place = position + 2
                has_zero = place < len(node.input) and node.input[place]
                zero = graph.constant(node, place) if has_zero else np.zeros(1)
                axis = 0 if kind == "Conv" else -1
                array = _real(graph.constants[name], np.ones(zero.size), zero, axis)
                name = graph.put(f"{name}:real", array)
            names.append(name)
        graph.call(kind, node, names, node.output[0])

    return rule


def _quantized_conv(graph: _Quantized, node: Any) -> None:
    inputs = [graph.real(node, 0), graph.real(node, 3)]
    if len(node.input) > 8 and node.input[8]:
        scale = graph.constant(node, 1) * graph.constant(node, 4)
        bias = graph.constant(node, 8).astype(np.float32) * scale
        inputs.append(graph.put(f"{node.input[8]}:real", bias))
    result = f"{node.output[0]}:real"
    graph.call("Conv", node, inputs, result)
    graph.cut(node, result, node.output[0], 6)


def _of_two(kind: str) -> Callable[[_Quantized, Any], None]:
    """QLinearMatMul, QLinearAdd, QLinearMul: two values, then the result's scale."""

    def rule(graph: _Quantized, node: Any) -> None:
        result = f"{node.output[0]}:real"
        last = -1 if kind == "MatMul" else 0
        graph.plain(kind, [graph.real(node, 0, last), graph.real(node, 3, last)], result)
        graph.cut(node, result, node.output[0], 6)

    return rule


def _of_one(kind: str) -> Callable[[_Quantized, Any], None]:
    """QLinearSigmoid and others of one value."""

    def rule(graph: _Quantized, node: Any) -> None:
        result = f"{node.output[0]}:real"
        graph.call(kind, node, [graph.real(node, 0)], result)
        graph.cut(node, result, node.output[0], 3)

    return rule


def _dynamic_lstm(graph: _Quantized, node: Any) -> None:
    """DynamicQuantizeLSTM, whose weights are [directions, values, gates]."""
    from onnx import helper

    inputs = list(node.input[:8]) + [""] * (8 - len(node.input[:8]))
    for position, scale in ((1, 8), (2, 10)):
        array, step = graph.constant(node, position), graph.constant(node, scale)
        zero = graph.constant(node, scale + 1)
        wide = (*step.shape, *[1] * (3 - step.ndim)) if step.ndim == 1 else (len(step), 1, -1)
        real = (array.astype(np.float32) - zero.reshape(wide).astype(np.float32)) * step.reshape(
            wide
        )
        inputs[position] = graph.put(f"{node.input[position]}:real", np.swapaxes(real, 1, 2))
    made = helper.make_node("LSTM", inputs, list(node.output), node.name)
    made.attribute.extend(node.attribute)
    graph.nodes.append(made)


def _pad(graph: _Quantized, node: Any) -> None:
    """Pad: among quantized values it pads with their zero point, which stands for 0."""
    filler = node.input[2] if len(node.input) > 2 else ""
    if filler in graph.constants and graph.constants[filler].dtype in (np.int8, np.uint8):
        node.input[2] = graph.put(f"{node.output[0]}:zero", np.zeros((), np.float32))
    graph.nodes.append(node)


RULES: dict[str, Callable[[_Quantized, Any], None]] = {
    "ConvInteger": _integer_product("Conv"),
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _integer_product("MatMul"),
    "Pad": _pad,
    "QLinearAdd": _of_two("Add"),
    "QLinearConv": _quantized_conv,
    "QLinearLeakyRelu": _of_one("LeakyRelu"),
    "QLinearMatMul": _of_two("MatMul"),
    "QLinearMul": _of_two("Mul"),
    "QLinearSigmoid": _of_one("Sigmoid"),
    "QuantizeLinear": _quantize,
}
