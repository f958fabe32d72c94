"""The TFLite flatbuffer, read with the standard library alone and checked while it is read.

TFLite runtimes trust a file: a damaged one can crash the process. So everything that the
runner relies on (tensors, operators, the signature) is read here first, with every offset and
index checked against the file's size, and a bad file ends in one clear error instead.

Layout after the public schema ``tensorflow/lite/schema/schema.fbs`` (file identifier TFL3);
field numbers in the code are the positions of the fields in that schema's tables.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from device_runner.errors import BadModelError

# The schema's BuiltinOperator enum, in order of its values.
# fmt: off
OPERATOR_NAMES = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "DEQUANTIZE", "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC",
    "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU", "RELU_N1_TO_1", "RELU6", "RESHAPE",
    "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH", "CONCAT_EMBEDDINGS",
    "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND",
    "TRANSPOSE", "MEAN", "SUB", "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2", "SPLIT", "LOG_SOFTMAX",
    "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM", "ARG_MAX", "MINIMUM",
    "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE", "SIN",
    "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG",
    "SUM", "SQRT", "RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD",
    "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT", "LOGICAL_AND", "LOGICAL_NOT", "UNPACK",
    "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL", "FLOOR_MOD",
    "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK",
    "ELU", "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND",
    "HARD_SWISH", "IF", "WHILE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM", "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D",
    "CONV_3D", "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE", "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE",
    "ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL", "BUCKETIZE",
    "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2",
    "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT",
    "STABLEHLO_LOGISTIC", "STABLEHLO_ADD", "STABLEHLO_DIVIDE", "STABLEHLO_MULTIPLY",
    "STABLEHLO_MAXIMUM", "STABLEHLO_RESHAPE", "STABLEHLO_CLAMP", "STABLEHLO_CONCATENATE",
    "STABLEHLO_BROADCAST_IN_DIM", "STABLEHLO_CONVOLUTION", "STABLEHLO_SLICE",
    "STABLEHLO_CUSTOM_CALL", "STABLEHLO_REDUCE", "STABLEHLO_ABS", "STABLEHLO_AND",
    "STABLEHLO_COSINE", "STABLEHLO_EXPONENTIAL", "STABLEHLO_FLOOR", "STABLEHLO_LOG",
    "STABLEHLO_MINIMUM", "STABLEHLO_NEGATE", "STABLEHLO_OR", "STABLEHLO_POWER",
    "STABLEHLO_REMAINDER", "STABLEHLO_RSQRT", "STABLEHLO_SELECT", "STABLEHLO_SUBTRACT",
    "STABLEHLO_TANH", "STABLEHLO_SCATTER", "STABLEHLO_COMPARE", "STABLEHLO_CONVERT",
    "STABLEHLO_DYNAMIC_SLICE", "STABLEHLO_DYNAMIC_UPDATE_SLICE", "STABLEHLO_PAD",
    "STABLEHLO_IOTA", "STABLEHLO_DOT_GENERAL", "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SORT",
    "STABLEHLO_WHILE", "STABLEHLO_GATHER", "STABLEHLO_TRANSPOSE", "DILATE",
    "STABLEHLO_RNG_BIT_GENERATOR", "REDUCE_WINDOW", "STABLEHLO_COMPOSITE",
    "STABLEHLO_SHIFT_LEFT", "STABLEHLO_CBRT", "STABLEHLO_CASE",
)
# fmt: on
CUSTOM_OPERATOR = 32

# The schema's ActivationFunctionType enum: what an operator may apply to its result.
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_ACTIVATION = ("activation", "b", 0)
# Of each operator whose options matter to the value that it computes: the tag in the schema's
# BuiltinOptions union, and of each field its number, name, type and default.
OPTIONS: dict[str, tuple[int, dict[int, tuple[str, str, float]]]] = {
    "ADD": (11, {0: _ACTIVATION}),
    "AVERAGE_POOL_2D": (5, {5: _ACTIVATION}),
    "BATCH_MATMUL": (101, {0: ("adj_x", "?", 0), 1: ("adj_y", "?", 0)}),
    "CONCATENATION": (10, {0: ("axis", "i", 0), 1: _ACTIVATION}),
    "DIV": (29, {0: _ACTIVATION}),
    "FULLY_CONNECTED": (
        8, {0: _ACTIVATION, 1: ("weights_format", "b", 0), 2: ("keep_num_dims", "?", 0)}
    ),
    "GATHER": (23, {0: ("axis", "i", 0), 1: ("batch_dims", "i", 0)}),
    "MAX_POOL_2D": (5, {5: _ACTIVATION}),
    "LEAKY_RELU": (75, {0: ("alpha", "f", 0)}),
    "MEAN": (27, {0: ("keep_dims", "?", 0)}),
    "MUL": (21, {0: _ACTIVATION}),
    "PACK": (59, {0: ("values_count", "i", 0), 1: ("axis", "i", 0)}),
    "SOFTMAX": (9, {0: ("beta", "f", 0)}),
    "SPLIT": (35, {0: ("num_splits", "i", 0)}),
    "STRIDED_SLICE": (
        32,
        {
            0: ("begin_mask", "i", 0),
            1: ("end_mask", "i", 0),
            2: ("ellipsis_mask", "i", 0),
            3: ("new_axis_mask", "i", 0),
            4: ("shrink_axis_mask", "i", 0),
            5: ("offset", "?", 0),
        },
    ),
    "SUB": (28, {0: _ACTIVATION}),
    "SUM": (27, {0: ("keep_dims", "?", 0)}),
}  # fmt: skip

# The schema's TensorType enum: name as NumPy spells it, and bytes per element
# (None where elements are packed or of variable size).
TENSOR_TYPES: tuple[tuple[str, int | None], ...] = (
    ("float32", 4), ("float16", 2), ("int32", 4), ("uint8", 1), ("int64", 8), ("string", None),
    ("bool", 1), ("int16", 2), ("complex64", 8), ("int8", 1), ("float64", 8), ("complex128", 16),
    ("uint64", 8), ("resource", None), ("variant", None), ("uint32", 4), ("uint16", 2),
    ("int4", None), ("bfloat16", 2),
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph; ``scales`` is empty where it is not quantized, and runs along
    ``quantized_axis`` where there are several; ``sparse`` where it is stored in TFLite's sparse
    encoding. A constant's bytes begin at ``constant_start`` of the file."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant_bytes: int
    static_shape: bool
    sparse: bool
    quantized_axis: int
    constant_start: int

    @property
    def byte_count(self) -> int | None:
        """Size of the tensor's data in bytes; None for packed or variable-size elements."""
        size = dict(TENSOR_TYPES).get(self.dtype)
        return None if size is None else size * math.prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """One operator: its name, the version of its definition, and its tensors' indices, where -1
    stands for an input that is left out. ``options`` holds the fields that :data:`OPTIONS` lists
    for it, and is empty where the file gives it another operator's."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, float]


@dataclass(frozen=True)
class Signature:
    """A named entry point: signature names bound to tensor indices of one subgraph."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    subgraph: int


@dataclass(frozen=True)
class Graph:
    """What a TFLite file holds, as far as a step needs it (one subgraph). ``inputs`` and
    ``outputs`` are the subgraph's tensors in its own order, which a runtime without signatures
    counts by. ``operator_codes`` are the operators (name, version) that the file names for all its
    subgraphs, which a runtime looks up when it loads the file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    subgraph_count: int
    operator_codes: tuple[tuple[str, int], ...]

    def signature(self, key: str) -> Signature:
        """The signature called ``key``; BadModelError where there is none."""
        for signature in self.signatures:
            if signature.key == key:
                return signature
        found = ", ".join(s.key for s in self.signatures) or "none"
        raise BadModelError(
            f"the model has no signature '{key}' (found: {found}); "
            "make a step model with 'edgestep run'"
        )


def read_graph(data: bytes, subgraph: int = 0) -> Graph:
    """Read and check a TFLite flatbuffer.

    Args:
        data: the file's bytes; anything after the flatbuffer (such as an appended ZIP) is ignored.
        subgraph: which of its subgraphs.

    Raises:
        BadModelError: the bytes are no TFLite model, or an offset or index points outside.
    """
    if len(data) < 8:
        raise BadModelError(f"not a TFLite model: only {len(data)} bytes; export or copy it again")
    if data[4:8] != b"TFL3":
        raise BadModelError("not a TFLite model: its identifier is missing; check the file name")
    try:
        return _graph(_Table(_Bytes(data), _unsigned(data, 0)), subgraph)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise BadModelError(
            f"the TFLite model is damaged ({error}); export or copy it again"
        ) from error


def _graph(model: _Table, number: int) -> Graph:
    codes = [_operator_code(code) for code in model.tables(1)]
    subgraphs = list(model.tables(2))
    buffers = [_buffer_extent(buffer) for buffer in model.tables(4)]
    if number >= len(subgraphs):
        raise ValueError(f"no subgraph {number}" if number else "no subgraph")
    subgraph = subgraphs[number]
    tensors = tuple(
        _tensor(index, tensor, buffers) for index, tensor in enumerate(subgraph.tables(0))
    )
    operators = tuple(_operator(op, codes, len(tensors)) for op in subgraph.tables(3))
    inputs, outputs = subgraph.numbers(1, "i"), subgraph.numbers(2, "i")
    for index in (*inputs, *outputs):
        if not 0 <= index < len(tensors):
            raise ValueError(f"the graph names tensor {index} of {len(tensors)}")
    signatures = tuple(_signature(item, subgraphs) for item in model.tables(7))
    return Graph(tensors, operators, inputs, outputs, signatures, len(subgraphs), tuple(codes))


def _operator_code(code: _Table) -> tuple[str, int]:
    value = max(code.integer(0, "b", 0), code.integer(3, "i", 0))
    if value == CUSTOM_OPERATOR:
        return f"CUSTOM:{code.string(1)}", code.integer(2, "i", 1)
    name = OPERATOR_NAMES[value] if 0 <= value < len(OPERATOR_NAMES) else f"UNKNOWN_{value}"
    return name, code.integer(2, "i", 1)


def _buffer_extent(buffer: _Table) -> tuple[int, int]:
    """Where a buffer's bytes begin in the file, and how many there are."""
    start, size = buffer.vector(0)
    offset, external = buffer.integer(1, "Q", 0), buffer.integer(2, "Q", 0)
    if offset > 1 and offset + external > len(buffer.data):
        raise ValueError("a weight buffer reaches past the end of the file")
    return (start, size) if size else (offset, external)


def _tensor(index: int, table: _Table, buffers: list[tuple[int, int]]) -> Tensor:
    kind = table.integer(1, "b", 0)
    dtype, _ = TENSOR_TYPES[kind] if 0 <= kind < len(TENSOR_TYPES) else (f"type{kind}", None)
    shape = table.numbers(0, "i")
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis = 0
    quantization = table.table(4)
    if quantization is not None:
        scales = quantization.numbers(2, "f")
        zero_points = quantization.numbers(3, "q")
        axis = quantization.integer(6, "i", 0)
    buffer = table.integer(2, "I", 0)
    if buffer >= len(buffers):
        raise ValueError(f"tensor {index} names buffer {buffer} of {len(buffers)}")
    start, size = buffers[buffer]
    tensor = Tensor(
        index=index,
        name=table.string(3),
        shape=shape,
        dtype=dtype,
        scales=scales,
        zero_points=zero_points,
        constant_bytes=size,
        static_shape=all(n >= 0 for n in (*shape, *table.numbers(7, "i"))),
        sparse=table.table(6) is not None,
        quantized_axis=axis,
        constant_start=start,
    )
    if tensor.sparse:
        return tensor  # its buffer holds the nonzero blocks alone
    if tensor.constant_bytes and tensor.byte_count not in (None, tensor.constant_bytes):
        raise ValueError(f"tensor {index} needs {tensor.byte_count} bytes, its buffer has {size}")
    return tensor


def _operator(table: _Table, codes: list[tuple[str, int]], tensor_count: int) -> Operator:
    code = table.integer(0, "I", 0)
    if code >= len(codes):
        raise ValueError(f"an operator names code {code} of {len(codes)}")
    inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
    for index in (*inputs, *outputs):
        if not -1 <= index < tensor_count:
            raise ValueError(f"an operator names tensor {index} of {tensor_count}")
    name, version = codes[code]
    return Operator(name, version, inputs, outputs, _options(name, table))


def _options(name: str, operator: _Table) -> dict[str, float]:
    if name not in OPTIONS:
        return {}
    tag, fields = OPTIONS[name]
    options = operator.table(4)
    if options is not None and operator.integer(3, "B", 0) != tag:
        return {}
    return {
        key: default if options is None else options.scalar(number, kind, default)
        for number, (key, kind, default) in fields.items()
    }


def _signature(table: _Table, subgraphs: list[_Table]) -> Signature:
    subgraph = table.integer(4, "I", 0)
    if subgraph >= len(subgraphs):
        raise ValueError(f"a signature names subgraph {subgraph} of {len(subgraphs)}")
    tensor_count = subgraphs[subgraph].vector(0)[1]
    signature = Signature(
        key=table.string(2),
        inputs={item.string(0): item.integer(1, "I", 0) for item in table.tables(0)},
        outputs={item.string(0): item.integer(1, "I", 0) for item in table.tables(1)},
        subgraph=subgraph,
    )
    for index in (*signature.inputs.values(), *signature.outputs.values()):
        if index >= tensor_count:
            raise ValueError(f"a signature names tensor {index} of {tensor_count}")
    return signature


Item = TypeVar("Item")


class _Bytes(bytes):
    """A file's bytes with a budget: sound files share vectors rarely, so all vectors together
    have fewer elements than the file has bytes."""

    spent = 0

    def spend(self, elements: int) -> None:
        self.spent += elements
        if self.spent > len(self):
            raise ValueError("its vectors overlap")


class _Table:
    """A flatbuffer table: fields are found through its vtable, every read is bounds-checked."""

    def __init__(self, data: _Bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.vtable = position - struct.unpack_from("<i", data, _checked(position, data))[0]
        self.vtable_size = struct.unpack_from("<H", data, _checked(self.vtable, data))[0]

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self.vtable_size:
            return None
        offset = struct.unpack_from("<H", self.data, self.vtable + entry)[0]
        return self.position + offset if offset else None

    def integer(self, number: int, kind: str, default: int) -> int:
        field = self._field(number)
        return (
            default if field is None else int(struct.unpack_from("<" + kind, self.data, field)[0])
        )

    def scalar(self, number: int, kind: str, default: float) -> float:
        field = self._field(number)
        return default if field is None else struct.unpack_from("<" + kind, self.data, field)[0]

    def table(self, number: int) -> _Table | None:
        field = self._field(number)
        return None if field is None else _Table(self.data, field + _unsigned(self.data, field))

    def _vector(self, number: int) -> tuple[int, int]:
        """Position of the first element and number of elements of a vector field."""
        field = self._field(number)
        if field is None:
            return 0, 0
        start = field + _unsigned(self.data, field)
        return start + 4, _unsigned(self.data, start)

    def vector(self, number: int) -> tuple[int, int]:
        """Position of the first element and number of elements, each of a byte or more."""
        start, count = self._vector(number)
        if start + count > len(self.data):
            raise ValueError("a vector reaches past the end of the file")
        return start, count

    def _elements(self, number: int, size: int, read: Callable[[int], Item]) -> Iterator[Item]:
        start, count = self._vector(number)
        if start + count * size > len(self.data):
            raise ValueError("a vector reaches past the end of the file")
        self.data.spend(count)
        return (read(start + i * size) for i in range(count))

    def tables(self, number: int) -> Iterator[_Table]:
        return self._elements(
            number, 4, lambda at: _Table(self.data, at + _unsigned(self.data, at))
        )

    def numbers(self, number: int, kind: str) -> tuple:
        layout = struct.Struct("<" + kind)
        return tuple(
            self._elements(number, layout.size, lambda at: layout.unpack_from(self.data, at)[0])
        )

    def string(self, number: int) -> str:
        start, count = self._vector(number)
        if start + count > len(self.data):
            raise ValueError("a name reaches past the end of the file")
        return self.data[start : start + count].decode()


def _checked(position: int, data: bytes) -> int:
    if not 0 <= position < len(data):
        raise ValueError(f"offset {position} outside of {len(data)} bytes")
    return position


def _unsigned(data: bytes, position: int) -> int:
    return int(struct.unpack_from("<I", data, _checked(position, data))[0])
