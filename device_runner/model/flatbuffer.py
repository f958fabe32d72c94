"""Read the graph in a TFLite file with the standard library alone, checking it on the way.

TFLite runtimes trust a file: a damaged one can crash the process. So everything that the runner
relies on (tensors, operators, the signature) is read here first. Every offset and index is checked
against the file's size, and a bad file ends in one clear error.

The layout is that of the public schema ``tensorflow/lite/schema/schema.fbs`` (file identifier
TFL3). Field numbers in the code are the positions of the fields in that schema's tables.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer_table import BudgetedBytes, Table, unsigned
from device_runner.model.tflite_schema import CUSTOM_OPERATOR, OPERATOR_NAMES, TENSOR_TYPES


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    Args:
        index: its index in the subgraph.
        name: as the converter chose it.
        shape: static shape; -1 for a dynamic axis.
        dtype: as NumPy spells it.
        scales: empty if it is not quantized; several run along ``quantized_axis``.
        zero_points: likewise.
        constant_bytes: size of a constant's data; 0 if a step computes it.
        static_shape: whether no axis is dynamic.
        sparse: whether the data is in TFLite's sparse encoding.
        quantized_axis: the axis that several scales run along.
        constant_start: where in the file a constant's data begins.
        is_variable: whether a runtime keeps its values from step to step.
    """

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
    is_variable: bool = False

    @property
    def byte_count(self) -> int | None:
        """Size of the tensor's data in bytes; None for packed or variable-size elements."""
        size = dict(TENSOR_TYPES).get(self.dtype)
        return None if size is None else size * math.prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph.

    Args:
        name: as the schema spells it; "CUSTOM:name" for a custom operator.
        version: version of its definition.
        inputs: indices of its tensors; -1 for an optional input that is left out.
        outputs: likewise.
        options: the fields that its row in :mod:`device_runner.operators` lists; empty if the file
            gives it another operator's options.
    """

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
    """One subgraph of a TFLite file, as far as a step needs it.

    Args:
        tensors: the subgraph's tensors by index.
        operators: in the order of computation.
        inputs, outputs: indices of the subgraph's tensors in its own order, which runtimes without
            signatures use.
        signatures: signatures of the whole file.
        subgraph_count: number of subgraphs in the file.
        operator_codes: the operators (name, version) that the file names for all its subgraphs; a
            runtime looks them up when it loads the file.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...]
    subgraph_count: int
    operator_codes: tuple[tuple[str, int], ...]

    def signature(self, key: str) -> Signature:
        """Return the signature called ``key``.

        Raises:
            BadModelError: there is no such signature.
        """
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
        data: the file's bytes; whatever follows the flatbuffer (such as a ZIP) is ignored.
        subgraph: which subgraph to read.

    Raises:
        BadModelError: the bytes are not a TFLite model, or an offset or index points outside.
    """
    if len(data) < 8:
        raise BadModelError(f"not a TFLite model: only {len(data)} bytes; export or copy it again")
    if data[4:8] != b"TFL3":
        raise BadModelError("not a TFLite model: its identifier is missing; check the file name")
    try:
        return _graph(Table(BudgetedBytes(data), unsigned(data, 0)), subgraph)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise BadModelError(
            f"the TFLite model is damaged ({error}); export or copy it again"
        ) from error


def _graph(model: Table, number: int) -> Graph:
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


def _operator_code(code: Table) -> tuple[str, int]:
    value = max(code.integer(0, "b", 0), code.integer(3, "i", 0))
    if value == CUSTOM_OPERATOR:
        return f"CUSTOM:{code.string(1)}", code.integer(2, "i", 1)
    name = OPERATOR_NAMES[value] if 0 <= value < len(OPERATOR_NAMES) else f"UNKNOWN_{value}"
    return name, code.integer(2, "i", 1)


def _buffer_extent(buffer: Table) -> tuple[int, int]:
    """Return where a buffer's bytes begin in the file, and how many there are."""
    start, size = buffer.vector(0)
    offset, external = buffer.integer(1, "Q", 0), buffer.integer(2, "Q", 0)
    if offset > 1 and offset + external > len(buffer.data):
        raise ValueError("a weight buffer reaches past the end of the file")
    return (start, size) if size else (offset, external)


def _tensor(index: int, table: Table, buffers: list[tuple[int, int]]) -> Tensor:
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
        is_variable=bool(table.integer(5, "b", 0)),
    )
    if tensor.sparse:
        return tensor  # its buffer only holds the nonzero blocks
    if tensor.constant_bytes and tensor.byte_count not in (None, tensor.constant_bytes):
        raise ValueError(f"tensor {index} needs {tensor.byte_count} bytes, its buffer has {size}")
    return tensor


def _operator(table: Table, codes: list[tuple[str, int]], tensor_count: int) -> Operator:
    code = table.integer(0, "I", 0)
    if code >= len(codes):
        raise ValueError(f"an operator names code {code} of {len(codes)}")
    inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
    for index in (*inputs, *outputs):
        if not -1 <= index < tensor_count:
            raise ValueError(f"an operator names tensor {index} of {tensor_count}")
    name, version = codes[code]
    return Operator(name, version, inputs, outputs, _options(name, table))


def _options(name: str, operator: Table) -> dict[str, float]:
    # Imported here: the rows name this module's Operator, and not every start reads a file.
    from device_runner.operators import OPERATORS

    row = OPERATORS.get(name)
    if row is None or row.options is None:
        return {}
    tag, fields = row.options
    options = operator.table(4)
    if options is not None and operator.integer(3, "B", 0) != tag:
        return {}
    return {
        one.name: one.default
        if options is None
        else options.scalar(one.number, one.kind, one.default)
        for one in fields
    }


def _signature(table: Table, subgraphs: list[Table]) -> Signature:
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
