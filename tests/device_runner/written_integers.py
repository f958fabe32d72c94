"""The specification of docs/native.md in NumPy, for float32 and int8: no kernel, nothing fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runner.model.flatbuffer import Graph, Operator, Tensor, read_graph

Array = NDArray[Any]
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "TANH": np.tanh,
    "RELU": lambda x: np.maximum(x, 0),
}
LIMITS = {0: (-3.4e38, 3.4e38), 1: (0, 3.4e38), 2: (-1, 1), 3: (0, 6)}


class WrittenStep:
    """Computes the operators of a step one after another.

    Args:
        flatbuffer: of a model with one signature.
        states: names of its states.
    """

    def __init__(self, flatbuffer: bytes, states: list[str]) -> None:
        self.graph: Graph = read_graph(flatbuffer)
        self.signature, self.states = self.graph.signatures[0], states
        self._constants = {
            tensor.index: np.frombuffer(
                flatbuffer,
                tensor.dtype,
                tensor.constant_bytes // np.dtype(tensor.dtype).itemsize,
                tensor.constant_start,
            ).reshape(tensor.shape)
            for tensor in self.graph.tensors
            if tensor.constant_bytes
        }

    def step(self, x: bytes, state: Mapping[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
        """Return the output and the next states, as stored."""
        values: dict[int, Array] = dict(self._constants)
        for name, index in self.signature.inputs.items():
            tensor = self.graph.tensors[index]
            data = state.get(name, x)
            values[index] = np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
        for operator in self.graph.operators:
            for index, value in zip(operator.outputs, self._run(operator, values), strict=True):
                tensor = self.graph.tensors[index]
                values[index] = value.astype(tensor.dtype).reshape(tensor.shape)
        given = {name: values[i].tobytes() for name, i in self.signature.outputs.items()}
        return given["y"], {name: given[name] for name in self.states}

    def _run(self, operator: Operator, values: Mapping[int, Array]) -> list[Array]:
        inputs = [values[i] if i >= 0 else None for i in operator.inputs]
        tensors = [self.graph.tensors[i] for i in (*operator.inputs, operator.outputs[0]) if i >= 0]
        out = self.graph.tensors[operator.outputs[0]]
        if operator.name == "SPLIT":
            axis, whole = inputs
            assert axis is not None
            assert whole is not None
            return np.split(whole, len(operator.outputs), int(axis))
        a, b = inputs[0], inputs[1] if len(inputs) > 1 else None
        assert a is not None
        limits = LIMITS[int(operator.options.get("activation", 0))]
        if out.dtype == "float32":
            return [np.clip(_real(operator.name, a, b, *inputs[2:]), *limits)]
        if operator.name in FUNCTIONS:
            real = FUNCTIONS[operator.name](
                (a - np.float64(_zero(tensors[0]))) * _scale(tensors[0])
            )
            return [_stored(real / _scale(out), out, LIMITS[0])]
        assert b is not None
        of_a, of_b = a.astype(np.int64) - _zero(tensors[0]), b.astype(np.int64) - _zero(tensors[1])
        scale_a, scale_b, step = _scale(tensors[0]), _scale(tensors[1]), _scale(out)
        if operator.name == "FULLY_CONNECTED":
            sums = of_a @ of_b.T + (0 if len(inputs) < 3 or inputs[2] is None else inputs[2])
            scales = (scale_a * np.float64(tensors[1].scales) / step).astype(np.float32)
            steps = sums.astype(np.float32) * scales
        elif operator.name == "MUL":
            steps = (of_a * of_b).astype(np.float32) * np.float32(scale_a * scale_b / step)
        else:
            sign = -1 if operator.name == "SUB" else 1
            steps = of_a.astype(np.float32) * np.float32(scale_a / step)
            steps = steps + of_b.astype(np.float32) * np.float32(sign * scale_b / step)
        return [_stored(steps, out, limits)]


def _real(name: str, a: Array, b: Array | None, *bias: Array | None) -> Array:
    if name in FUNCTIONS:
        return FUNCTIONS[name](a.astype(np.float64))
    assert b is not None
    if name == "FULLY_CONNECTED":
        product: Array = a.astype(np.float64) @ b.T.astype(np.float64)
        return product if not bias or bias[0] is None else product + bias[0]
    return {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[name](a, b)


def _stored(steps: Array, out: Tensor, limits: tuple[float, float]) -> Array:
    zero, scale = _zero(out), _scale(out)
    low, high = (
        np.rint(np.clip(np.float64(np.float32(limit)) / scale, -128 - zero, 127 - zero))
        for limit in limits
    )
    return np.rint(np.clip(steps, low, high)) + zero


def _zero(tensor: Tensor) -> int:
    return tensor.zero_points[0] if tensor.zero_points else 0


def _scale(tensor: Tensor) -> np.float64:
    return np.float64(np.float32(tensor.scales[0]))
