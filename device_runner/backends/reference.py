"""The backend in NumPy: computes our step graphs operator by operator, to check a device with.

It is written to be read next to the graph, and shares nothing with a TFLite runtime's kernels: if
the two agree, both are right. It computes in double precision. In a quantized model the weights are
dequantized once, and the input and the states at each step; only what leaves the step is rounded to
its stored dtype. So it is closer to the float model than an integer runtime, and is held to the
same tolerance.

What each operator computes is in :mod:`device_runner.operators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from device_runner.backends.backend import HostMemoryBackend, LoadOptions
from device_runner.backends.host_step import HostMemory
from device_runner.errors import BadModelError, one_line
from device_runner.model.constants import INDEX_DTYPES, quantization, read_constant
from device_runner.model.flatbuffer import Graph, Operator, Tensor
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import TensorSpec
from device_runner.operators import OPERATORS, check_operator
from device_runner.operators.row import Array, Compute, Values, misfit

NAME = "reference"
ACTIVATION_DTYPES = ("float32", "int8", "uint8", "int16")
# No step on a small device has a larger tensor; a damaged shape may be larger.
ELEMENT_LIMIT = 2**26


def load(model: StepModel, options: LoadOptions) -> ReferenceBackend:
    """Make a step model's graph ready to be computed with NumPy; it ignores the options."""
    return ReferenceBackend(model)


def probe() -> str:
    """Return NumPy's version."""
    return f"NumPy {np.__version__}"


class ReferenceBackend(HostMemoryBackend):
    """A step model computed with NumPy.

    Raises:
        BadModelError: the graph has an operator, a version of one, an option or a dtype that is
            not known here, or its shapes do not fit.
    """

    rounds_each_operator = False

    def __init__(self, model: StepModel) -> None:
        try:
            memories = {
                key: _host_memory(model, graph, key) for key, graph in model.phase_graphs.items()
            }
        except BadModelError as error:
            raise BadModelError(f"{model.path}: {error.message}") from error
        super().__init__(NAME, np.__version__, model, memories)


def _host_memory(model: StepModel, graph: Graph, key: str) -> HostMemory:
    """Make the arrays of a signature's stored tensors, and its computation."""
    contract, signature = model.contract, graph.signature(key)
    specs: dict[str, TensorSpec] = {
        spec.name: spec for spec in (*contract.inputs, *contract.outputs, *contract.states)
    }
    stored_in, stored_out = (
        {name: np.zeros(specs[name].shape, specs[name].dtype) for name in names}
        for names in (signature.inputs, signature.outputs)
    )
    step = StepGraph(graph, model.flatbuffer, key)

    def invoke() -> None:
        values = {
            index: _computed(specs[name], stored_in[name])
            for name, index in signature.inputs.items()
        }
        results = step.compute(values)
        for name, index in signature.outputs.items():
            stored_out[name][...] = _quantize(specs[name], results[index])

    return HostMemory(
        inputs={name: array.data.cast("B") for name, array in stored_in.items()},
        outputs={name: array.data.cast("B") for name, array in stored_out.items()},
        invoke=invoke,
    )


def _computed(spec: TensorSpec, stored: Array) -> Array:
    """Convert stored values to float64 real values, or to int64 if they are ids or counts."""
    if spec.scale is None and spec.dtype in INDEX_DTYPES:
        return stored.astype(np.int64)
    return spec.dequantize(stored).astype(np.float64)


def _quantize(spec: TensorSpec, values: Array) -> Array:
    if spec.scale is None:
        with np.errstate(over="ignore"):
            return values.astype(spec.dtype)
    # Integers have no NaN; what one becomes is not defined.
    return spec.quantize(np.nan_to_num(values, posinf=np.inf, neginf=-np.inf))


class StepGraph:
    """The operators of a step graph with their constants, checked and ready to be computed.

    Args:
        graph: the graph of the signature's subgraph.
        flatbuffer: the bytes that it was read from.
        key: name of the signature.

    Raises:
        BadModelError: as :class:`ReferenceBackend`.
    """

    def __init__(self, graph: Graph, flatbuffer: bytes, key: str = STEP_SIGNATURE) -> None:
        signature = graph.signature(key)
        self.graph = graph
        for tensor in graph.tensors:
            if not tensor.static_shape or math.prod(tensor.shape) > ELEMENT_LIMIT:
                raise BadModelError(
                    f"tensor '{tensor.name}' has the shape {tensor.shape}; "
                    "export or copy the model again"
                )
        self.operators: list[tuple[Compute, Operator]] = []
        self.constants: dict[int, Array] = {}
        known = set(signature.inputs.values())
        for operator in graph.operators:
            compute = check_operator(operator)
            self._take_constants(operator, flatbuffer, known)
            for index in operator.outputs:
                if index < 0 or index in known or graph.tensors[index].constant_bytes:
                    raise BadModelError(
                        f"operator {operator.name} writes to a tensor that is already written; "
                        "export or copy the model again"
                    )
                known.add(index)
            self.operators.append((compute, operator))
        for name, index in signature.outputs.items():
            if index not in known:
                raise BadModelError(
                    f"output '{name}' is not computed; export or copy the model again"
                )
        for index in known:
            _check_activation(graph.tensors[index])
        self._rehearse(signature.inputs.values())

    def _take_constants(self, operator: Operator, flatbuffer: bytes, known: set[int]) -> None:
        for index in operator.inputs:
            if index in known or index in self.constants:
                continue
            if index < 0:
                if OPERATORS[operator.name].optional_inputs:
                    continue
                raise BadModelError(
                    f"operator {operator.name} lacks an input; export or copy the model again"
                )
            tensor = self.graph.tensors[index]
            # A constant without elements has no buffer.
            if not tensor.constant_bytes and all(tensor.shape):
                raise BadModelError(
                    f"operator {operator.name} reads tensor '{tensor.name}', which nothing "
                    "computes before; export or copy the model again"
                )
            value = read_constant(flatbuffer, tensor)
            self.constants[index] = value.astype(np.float64) if value.dtype.kind == "f" else value

    def _rehearse(self, inputs: Iterable[int]) -> None:
        """Compute one step of zeros. All shapes are static, so what fits now fits always."""
        tensors = self.graph.tensors
        values = {
            index: np.zeros(
                tensors[index].shape, np.int64 if _is_index(tensors[index]) else np.float64
            )
            for index in inputs
        }

        def check(operator: Operator, results: Values) -> None:
            shapes = [tuple(result.shape) for result in results]
            declared = [tensors[index].shape for index in operator.outputs]
            if shapes != declared:
                raise BadModelError(
                    f"operator {operator.name} gives the shapes {shapes}, the model says "
                    f"{declared}; export or copy the model again"
                )

        self.compute(values, check)

    def compute(
        self,
        values: Mapping[int, Array],
        check: Callable[[Operator, Values], None] | None = None,
    ) -> dict[int, Array]:
        """Compute all tensors of a step from those of its inputs, by index.

        They are float64, or int64 for ids and counts."""
        computed = {**self.constants, **values}
        with np.errstate(all="ignore"):
            for compute, operator in self.operators:
                operands = [computed[index] for index in operator.inputs if index >= 0]
                if check is None:
                    results = compute(operator, operands)
                else:
                    results = self._checked(compute, operator, operands)
                    check(operator, results)
                computed.update(zip(operator.outputs, results, strict=True))
        return computed

    def _checked(self, compute: Compute, operator: Operator, operands: Values) -> Values:
        try:
            return compute(operator, operands)
        # NumPy raises these for shapes, axes and sizes that do not fit.
        except (ValueError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
            raise misfit(operator, one_line(error)) from error


def _is_index(tensor: Tensor) -> bool:
    """Tell whether a tensor holds ids, positions or counts, not real values."""
    return tensor.dtype in INDEX_DTYPES and not tensor.scales


def _check_activation(tensor: Tensor) -> None:
    if _is_index(tensor):
        return
    if tensor.dtype not in ACTIVATION_DTYPES:
        raise BadModelError(
            f"tensor '{tensor.name}' is {tensor.dtype}, which is not known here; "
            "use another backend"
        )
    if tensor.dtype != "float32":
        quantization(tensor)
