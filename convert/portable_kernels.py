"""What the portable int8 kernels of TensorFlow Lite Micro compute, in NumPy, to the bit.

They round twice in a product: the doubled high half of accumulator times multiplier, and then the
shift, halves away from zero each time. LiteRT's kernels round otherwise, so what they record tells
little of a microcontroller, and TensorFlow Lite Micro is not installed where models are exported.
``tests/device_runner/test_micro.py`` compares with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from device_runner.backends.backend import HostMemoryBackend
from device_runner.backends.host_step import HostMemory
from device_runner.errors import BadModelError
from device_runner.model.constants import INDEX_DTYPES
from device_runner.model.flatbuffer import Graph, Operator, Tensor
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tflite_schema import ACTIVATIONS
from device_runner.operators import OPERATORS
from device_runner.operators.row import Grid

Numbers = NDArray[np.int64]
#: Computes what is stored of an operator's output, but for its zero point, from its operands.
Kernel = Callable[..., Numbers]
#: Makes one, from the operator, its operands, their values if constant, and its output.
MakeKernel = Callable[[Operator, list[Tensor], list[Numbers | None], Tensor], Kernel]
#: Computes the outputs of an operator.
Call = Callable[..., Sequence[Numbers]]
# How far operands of a sum are shifted before they are brought to one scale.
_SUM_SHIFT = 20
_LOW, _HIGH = -128, 127


class PortableBackend(HostMemoryBackend):
    """A step model of one signature, computed as the portable kernels do.

    Raises:
        BadModelError: an operator's portable kernel is not known here, or it is not in int8.
    """

    def __init__(self, model: StepModel) -> None:
        graph = model.graph
        if model.contract.phases != (STEP_SIGNATURE,):
            raise BadModelError("the portable kernels step one signature")
        signature = graph.signature(STEP_SIGNATURE)
        stored_in, stored_out = (
            {index: np.zeros(graph.tensors[index].shape, graph.tensors[index].dtype)
             for index in named.values()}
            for named in (signature.inputs, signature.outputs)
        )  # fmt: skip
        step = _Step(graph, model.flatbuffer)

        def invoke() -> None:
            values = step.compute({i: array.astype(np.int64) for i, array in stored_in.items()})
            for index, array in stored_out.items():
                array[...] = values[index]

        memory = HostMemory(
            inputs={n: stored_in[i].data.cast("B") for n, i in signature.inputs.items()},
            outputs={n: stored_out[i].data.cast("B") for n, i in signature.outputs.items()},
            invoke=invoke,
        )
        super().__init__("portable kernels", "", model, {STEP_SIGNATURE: memory})


class _Step:
    """A graph's operators, with their kernels bound to the constants and scales."""

    def __init__(self, graph: Graph, flatbuffer: bytes) -> None:
        self.tensors = graph.tensors
        self.constants: dict[int, Numbers] = {}
        for tensor in graph.tensors:
            if tensor.constant_bytes:
                dtype = np.dtype(tensor.dtype).newbyteorder("<")
                count = tensor.constant_bytes // dtype.itemsize
                values = np.frombuffer(flatbuffer, dtype, count, tensor.constant_start)
                self.constants[tensor.index] = values.reshape(tensor.shape).astype(np.int64)
        self.calls = [self._bound(operator) for operator in graph.operators]

    def _bound(self, operator: Operator) -> tuple[Operator, list[int], Call]:
        """Bind an operator to what does not change from step to step."""
        given = [index for index in operator.inputs if index >= 0]
        tensors = [self.tensors[index] for index in (*given, *operator.outputs)]
        numeric = [one for one in tensors if one.scales]
        plain = [one for one in tensors if not one.scales]
        known = all(len(one.scales) == 1 and one.dtype in ("int8", "int32") for one in numeric)
        if not known or any(one.dtype not in INDEX_DTYPES for one in plain):
            raise BadModelError(f"operator {operator.name} is not in int8 with one scale")
        if operator.name in _KERNELS:
            operands = [self.tensors[index] for index in given]
            constants = [self.constants.get(index) for index in given]
            out = self.tensors[operator.outputs[0]]
            kernel = _KERNELS[operator.name](operator, operands, constants, out)
            return operator, given, _within(kernel, operator, out)
        row = OPERATORS.get(operator.name)
        grids = {(one.scales, one.zero_points) for one in numeric}
        if row is None or row.grid is Grid.OWN or row.compute is None or len(grids) > 1:
            raise BadModelError(f"operator {operator.name} has no portable kernel here")
        compute = row.compute
        # It hands stored values on as they are.
        return operator, given, lambda *values: compute(operator, values)

    def compute(self, values: dict[int, Numbers]) -> dict[int, Numbers]:
        """Compute the stored values of all tensors from those of the inputs."""
        computed = {**self.constants, **values}
        for operator, given, call in self.calls:
            results = call(*[computed[index] for index in given])
            computed.update(zip(operator.outputs, results, strict=True))
        return computed


def _within(kernel: Kernel, operator: Operator, out: Tensor) -> Call:
    """Add the zero point and cut to the range of the output."""
    zero, (low, high) = _zero(out), _limits(operator, out)

    def call(*values: Numbers) -> tuple[Numbers]:
        return (np.clip(kernel(*values) + zero, low, high).reshape(out.shape),)

    return call


def _fully_connected(
    operator: Operator, tensors: list[Tensor], constants: list[Numbers | None], out: Tensor
) -> Kernel:
    if constants[1] is None or any(one is None for one in constants[2:]):
        raise BadModelError("the weights of a portable FULLY_CONNECTED are constant")
    zero, weights = _zero(tensors[0]), (constants[1] - _zero(tensors[1])).T
    bias = constants[2].ravel() if len(constants) > 2 and constants[2] is not None else 0
    rescale = _scaling(_scale(tensors[0]) * _scale(tensors[1]) / _scale(out))
    # Sums of products of int8 are exact in double precision, whose products are faster.
    real = weights.astype(np.float64)

    def kernel(x: Numbers, *_: Numbers) -> Numbers:
        sums = (x - zero).reshape(-1, len(real)).astype(np.float64) @ real
        return rescale(sums.astype(np.int64) + bias)

    return kernel


def _product(
    operator: Operator, tensors: list[Tensor], constants: list[Numbers | None], out: Tensor
) -> Kernel:
    first, second = map(_zero, tensors)
    rescale = _scaling(_scale(tensors[0]) * _scale(tensors[1]) / _scale(out))
    return lambda a, b: rescale((a - first) * (b - second))


def _sum(
    operator: Operator, tensors: list[Tensor], constants: list[Numbers | None], out: Tensor
) -> Kernel:
    common = 2 * max(map(_scale, tensors))
    first, second = map(_zero, tensors)
    one, other = (_scaling(_scale(tensor) / common) for tensor in tensors)
    rescale = _scaling(common / (2**_SUM_SHIFT * _scale(out)))
    sign = -1 if operator.name == "SUB" else 1

    def kernel(a: Numbers, b: Numbers) -> Numbers:
        return rescale(one((a - first) << _SUM_SHIFT) + sign * other((b - second) << _SUM_SHIFT))

    return kernel


def _function(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> MakeKernel:
    """Make a kernel that looks up a rounded function."""

    def make(
        operator: Operator, tensors: list[Tensor], constants: list[Numbers | None], out: Tensor
    ) -> Kernel:
        stored = np.arange(_LOW, _HIGH + 1)
        exact = function((stored - _zero(tensors[0])) * _scale(tensors[0])) / _scale(out)
        table = (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int64)
        return lambda x: table[x - _LOW]

    return make


_KERNELS: dict[str, MakeKernel] = {
    "FULLY_CONNECTED": _fully_connected,
    "MUL": _product,
    "ADD": _sum,
    "SUB": _sum,
    "LOGISTIC": _function(lambda x: 1 / (1 + np.exp(-x))),
    "TANH": _function(np.tanh),
}


def _scale(tensor: Tensor) -> float:
    return float(np.float32(tensor.scales[0]))


def _zero(tensor: Tensor) -> int:
    return tensor.zero_points[0]


def _limits(operator: Operator, out: Tensor) -> tuple[int, int]:
    """Return the range of the output's stored values with the activation that is fused."""
    activation = ACTIVATIONS[int(operator.options.get("activation", 0))]
    if activation == "NONE":
        return _LOW, _HIGH
    if activation == "RELU":
        return max(_LOW, _zero(out)), _HIGH
    raise BadModelError(f"activation {activation} has no portable kernel here")


def _scaling(factor: float) -> Callable[[Numbers], Numbers]:
    """Return the multiplication by a real factor, as by a number of 31 bits and a shift."""
    fraction, shift = math.frexp(factor)
    multiplier = round(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    left, right = max(shift, 0), max(-shift, 0)
    mask = (1 << right) - 1

    def scaled(x: Numbers) -> Numbers:
        product = (x << left) * multiplier
        nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
        # Towards zero, as C divides.
        high = (nudged + ((nudged < 0) * (2**31 - 1))) >> 31
        result: Numbers = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
        return result

    return scaled
