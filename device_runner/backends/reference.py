"""NumPy alone: the step graph of our own models, operator by operator, to check a device with.

It is written to be read next to the graph and has nothing in common with a TFLite runtime's
kernels: where it and a runtime agree, both are right. It computes in double precision. In a
quantized model the weights are dequantized once, the input and the states at each step, and only
what leaves the step is rounded to its stored dtype; so it is closer to the float model than an
integer runtime, and is held to the same tolerance.

The meaning of an operator is that of the TFLite operator of the same name up to the version
given in :data:`OPERATORS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from device_runner.backends.backend import HostMemory, HostMemoryBackend, LoadOptions
from device_runner.errors import BadModelError, one_line
from device_runner.model.constants import INDEX_DTYPES, quantization, read_constant
from device_runner.model.flatbuffer import Graph, Operator, Tensor
from device_runner.model.names import STEP_SIGNATURE
from device_runner.model.step_file import StepModel
from device_runner.model.tensor_spec import TensorSpec
from device_runner.model.tflite_schema import ACTIVATIONS, OPTIONS

NAME = "reference"
ACTIVATION_DTYPES = ("float32", "int8", "uint8", "int16")
# No tensor of a step on a small device is larger; a damaged shape may be.
ELEMENT_LIMIT = 2**26
# Of STRIDED_SLICE's masks only these are known here.
KNOWN_MASKS = ("begin_mask", "end_mask", "shrink_axis_mask")

Values = Sequence[np.ndarray]
Compute = Callable[[Operator, Values], Values]


def load(model: StepModel, options: LoadOptions) -> ReferenceBackend:
    """Make a step model's graph ready to be computed with NumPy; options have no influence."""
    return ReferenceBackend(model)


def probe() -> str:
    """NumPy's version."""
    return f"NumPy {np.__version__}"


class ReferenceBackend(HostMemoryBackend):
    """A step model computed with NumPy.

    Raises:
        BadModelError: the graph has an operator, a version of one, an option or a dtype that is
            not known here, or its shapes do not fit.
    """

    def __init__(self, model: StepModel) -> None:
        try:
            memories = {
                key: _host_memory(model, graph, key) for key, graph in model.phase_graphs.items()
            }
        except BadModelError as error:
            raise BadModelError(f"{model.path}: {error.message}") from error
        super().__init__(NAME, np.__version__, model, memories)


def _host_memory(model: StepModel, graph: Graph, key: str) -> HostMemory:
    """Arrays of a signature's tensors as stored, and its computation."""
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


def _computed(spec: TensorSpec, stored: np.ndarray) -> np.ndarray:
    """float64 real values, or int64 where the tensor holds ids or counts."""
    if spec.scale is None and spec.dtype in INDEX_DTYPES:
        return stored.astype(np.int64)
    return spec.dequantize(stored).astype(np.float64)


def _quantize(spec: TensorSpec, values: np.ndarray) -> np.ndarray:
    if spec.scale is None:
        with np.errstate(over="ignore"):
            return values.astype(spec.dtype)
    # Integers have no NaN; what they are for one is nowhere defined.
    return spec.quantize(np.nan_to_num(values, posinf=np.inf, neginf=-np.inf))


class StepGraph:
    """The operators of a step graph with their constants, checked and ready to be computed.

    Args:
        graph: of the signature's subgraph.
        flatbuffer: the bytes that it was read from.
        key: the signature.

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
        self.constants: dict[int, np.ndarray] = {}
        known = set(signature.inputs.values())
        for operator in graph.operators:
            check_operator(operator, OPERATORS)
            self._take_constants(operator, flatbuffer, known)
            for index in operator.outputs:
                if index < 0 or index in known or graph.tensors[index].constant_bytes:
                    raise BadModelError(
                        f"operator {operator.name} writes to a tensor that is already written; "
                        "export or copy the model again"
                    )
                known.add(index)
            self.operators.append((OPERATORS[operator.name].compute, operator))
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
            # A constant without elements has no buffer either.
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
        values: Mapping[int, np.ndarray],
        check: Callable[[Operator, Values], None] | None = None,
    ) -> dict[int, np.ndarray]:
        """All tensors of a step by index, float64 or, of ids and counts, int64, from those of its
        inputs."""
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
        # What NumPy raises for shapes, axes and sizes that do not fit.
        except (ValueError, TypeError, IndexError, ArithmeticError, MemoryError) as error:
            raise _misfit(operator, one_line(error)) from error


def check_operator(operator: Operator, known: Mapping[str, KnownOperator]) -> None:
    """Raise BadModelError unless the operator, its version and its options are in ``known``."""
    if operator.name not in known:
        raise BadModelError(
            f"operator {operator.name} is not known here (known are: {', '.join(sorted(known))}); "
            "use another backend"
        )
    limit = known[operator.name].version
    if not 1 <= operator.version <= limit:
        raise BadModelError(
            f"operator {operator.name} has version {operator.version}, known here are 1 to "
            f"{limit}; use another backend"
        )
    options = operator.options
    if not options and operator.name in OPTIONS:
        raise _misfit(operator, "its options are another operator's")
    if not 0 <= options.get("activation", 0) < len(ACTIVATIONS) - 1:  # but SIGN_BIT
        raise _misfit(operator, f"its activation {options['activation']} is not known here")
    if options.get("weights_format"):
        raise _misfit(operator, "its weights are shuffled")


def _is_index(tensor: Tensor) -> bool:
    """Whether a tensor holds ids, positions or counts, not real values."""
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


def _misfit(operator: Operator, reason: str) -> BadModelError:
    return BadModelError(
        f"operator {operator.name} cannot be computed ({reason}); export or copy the model again"
    )


def _activate(operator: Operator, values: np.ndarray) -> np.ndarray:
    return ACTIVATE[ACTIVATIONS[int(operator.options["activation"])]](values)


ACTIVATE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NONE": lambda values: values,
    "RELU": lambda values: np.maximum(values, 0),
    "RELU_N1_TO_1": lambda values: np.clip(values, -1, 1),
    "RELU6": lambda values: np.clip(values, 0, 6),
    "TANH": np.tanh,
}


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        (x,) = _real(operator, operands, 1)
        return [function(x)]

    return compute


def _binary(
    function: Callable[..., np.ndarray], activated: bool = True, integers: bool = True
) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        if not integers or any(operand.dtype.kind != "i" for operand in operands):
            _real(operator, operands, 2)
        result = function(*operands)
        return [_activate(operator, result) if activated else result]

    return compute


def _real(operator: Operator, operands: Values, count: int) -> Values:
    """The operands, of which there must be ``count``, none of them indices."""
    if len(operands) != count or any(operand.dtype.kind != "f" for operand in operands):
        raise _misfit(operator, f"it takes {count} tensors of real values")
    return operands


def _integers(operator: Operator, operand: np.ndarray) -> list[int]:
    """A constant operand that holds axes or sizes."""
    if operand.dtype.kind != "i" or operand.ndim > 1:
        raise _misfit(operator, f"its axes or sizes are no list of {' or '.join(INDEX_DTYPES)}")
    return [int(number) for number in operand.reshape(-1)]


def _fully_connected(operator: Operator, operands: Values) -> Values:
    x, weights, *bias = _real(operator, operands, min(max(len(operands), 2), 3))
    if weights.ndim != 2 or (bias and bias[0].shape != weights.shape[:1]):
        raise _misfit(operator, "its weights are no matrix, or its bias is not as long")
    units, width = weights.shape
    keep = operator.options["keep_num_dims"]
    if keep and x.shape[-1] != width:
        raise _misfit(operator, f"it multiplies {x.shape[-1]} values with rows of {width}")
    result = x.reshape(-1, width) @ weights.T + (bias[0] if bias else 0)
    return [_activate(operator, result.reshape(*x.shape[:-1], units) if keep else result)]


def _batch_matmul(operator: Operator, operands: Values) -> Values:
    x, y = _real(operator, operands, 2)
    x = x.swapaxes(-1, -2) if operator.options["adj_x"] else x
    y = y.swapaxes(-1, -2) if operator.options["adj_y"] else y
    return [x @ y]


def _gather(operator: Operator, operands: Values) -> Values:
    table, positions = operands
    if positions.dtype.kind != "i":
        raise _misfit(operator, "its positions are not integers")
    axis, batch = int(operator.options["axis"]), int(operator.options["batch_dims"])
    axis += table.ndim if axis < 0 else 0
    batch += positions.ndim if batch < 0 else 0
    if not 0 <= batch <= axis < table.ndim or table.shape[:batch] != positions.shape[:batch]:
        raise _misfit(operator, f"its axis is {axis}, after {batch} of a batch")
    if positions.size and not 0 <= positions.min() <= positions.max() < table.shape[axis]:
        raise _misfit(operator, f"a position is outside of 0 to {table.shape[axis] - 1}")
    rows = [
        np.take(table[place], positions[place], axis - batch)
        for place in np.ndindex(*table.shape[:batch])
    ]
    return [np.stack(rows).reshape(*table.shape[:batch], *rows[0].shape)]


def _split(operator: Operator, operands: Values) -> Values:
    if len(operands) != 2 or len(operator.outputs) != operator.options["num_splits"]:
        raise _misfit(operator, "its number of parts is unclear")
    (axis,) = _integers(operator, operands[0])
    return np.split(operands[1], len(operator.outputs), axis)


def _concatenation(operator: Operator, operands: Values) -> Values:
    parts = _real(operator, operands, len(operands))
    return [_activate(operator, np.concatenate(parts, int(operator.options["axis"])))]


def _reduce(function: Callable[..., np.ndarray]) -> Compute:
    def compute(operator: Operator, operands: Values) -> Values:
        x, axes = operands
        keep = bool(operator.options["keep_dims"])
        return [function(x, axis=tuple(_integers(operator, axes)), keepdims=keep)]

    return compute


def _reshape(operator: Operator, operands: Values) -> Values:
    x, shape = operands
    return [x.reshape(_integers(operator, shape))]


def _transpose(operator: Operator, operands: Values) -> Values:
    x, order = operands
    return [x.transpose(_integers(operator, order))]


def _slice(operator: Operator, operands: Values) -> Values:
    x, begins, sizes = operands
    begin, size = _integers(operator, begins), _integers(operator, sizes)
    parts = [
        slice(b, None if n == -1 else b + n)
        for b, n in zip(begin, size, strict=True)
        if b >= 0 and n >= -1
    ]
    if len(parts) != x.ndim:
        raise _misfit(operator, "it begins outside of the tensor")
    return [x[tuple(parts)]]


def strided_slice_parts(
    operator: Operator, begins: Sequence[int], ends: Sequence[int], strides: Sequence[int]
) -> list[slice | int]:
    """What STRIDED_SLICE takes along each axis: a slice, or the one index of an axis that it
    removes. BadModelError: it has a mask that is not known here, or lists of unequal length."""
    for mask, value in operator.options.items():
        if value and mask not in KNOWN_MASKS:
            raise _misfit(operator, f"its {mask} is not known here")
    if not len(begins) == len(ends) == len(strides):
        raise _misfit(operator, "its begins, ends and strides are not equally many")
    begin_mask, end_mask, shrink = (int(operator.options[mask]) for mask in KNOWN_MASKS)
    parts: list[slice | int] = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bit = 1 << axis
        if shrink & bit:
            parts.append(begin)
        else:
            parts.append(
                slice(None if begin_mask & bit else begin, None if end_mask & bit else end, stride)
            )
    return parts


def _strided_slice(operator: Operator, operands: Values) -> Values:
    x, *limits = operands
    begins, ends, strides = (_integers(operator, limit) for limit in limits)
    return [x[tuple(strided_slice_parts(operator, begins, ends, strides))]]


def _softmax(operator: Operator, operands: Values) -> Values:
    (x,) = _real(operator, operands, 1)
    powers = np.exp((x - x.max(-1, keepdims=True)) * operator.options["beta"])
    return [powers / powers.sum(-1, keepdims=True)]


def _leaky_relu(operator: Operator, operands: Values) -> Values:
    (x,) = _real(operator, operands, 1)
    return [np.where(x < 0, x * operator.options["alpha"], x)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class KnownOperator(NamedTuple):
    """An operator that can be computed: the newest version whose meaning is known here, how it is
    computed, and whether an input may be left out."""

    version: int
    compute: Compute
    optional_inputs: bool = False


# Versions above 1 stand for further dtypes and ranks, not for another meaning.
OPERATORS: dict[str, KnownOperator] = {
    "ADD": KnownOperator(5, _binary(np.add)),
    "BATCH_MATMUL": KnownOperator(4, _batch_matmul),
    "CONCATENATION": KnownOperator(3, _concatenation),
    "DEQUANTIZE": KnownOperator(5, _unary(lambda x: x)),
    "DIV": KnownOperator(2, _binary(np.divide, integers=False)),
    "EXP": KnownOperator(2, _unary(np.exp)),
    "FULLY_CONNECTED": KnownOperator(12, _fully_connected, optional_inputs=True),
    "GATHER": KnownOperator(5, _gather),
    "LEAKY_RELU": KnownOperator(2, _leaky_relu),
    "LOGISTIC": KnownOperator(3, _unary(_sigmoid)),
    "MAXIMUM": KnownOperator(4, _binary(np.maximum, activated=False)),
    "MEAN": KnownOperator(3, _reduce(np.mean)),
    "MINIMUM": KnownOperator(4, _binary(np.minimum, activated=False)),
    "MUL": KnownOperator(6, _binary(np.multiply)),
    "NEG": KnownOperator(2, _unary(np.negative)),
    "QUANTIZE": KnownOperator(4, _unary(lambda x: x)),
    "RELU": KnownOperator(3, _unary(lambda x: np.maximum(x, 0))),
    "RELU6": KnownOperator(3, _unary(lambda x: np.clip(x, 0, 6))),
    "RESHAPE": KnownOperator(1, _reshape),
    "RSQRT": KnownOperator(3, _unary(lambda x: 1 / np.sqrt(x))),
    "SLICE": KnownOperator(6, _slice),
    "SOFTMAX": KnownOperator(3, _softmax),
    "SPLIT": KnownOperator(4, _split),
    "SQRT": KnownOperator(2, _unary(np.sqrt)),
    "STRIDED_SLICE": KnownOperator(4, _strided_slice),
    "SUB": KnownOperator(5, _binary(np.subtract)),
    "SUM": KnownOperator(2, _reduce(np.sum)),
    "TANH": KnownOperator(3, _unary(np.tanh)),
    "TRANSPOSE": KnownOperator(6, _transpose),
}
