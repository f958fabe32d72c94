"""The flatbuffer reader: agrees with the schema's own code, survives any damage."""

from __future__ import annotations

import random
import struct
import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import Graph, read_graph
from device_runner.model.step_file import load_step_model
from device_runner.model.tflite_schema import OPERATOR_NAMES, TENSOR_TYPES

# A reader that loops or trusts a damaged length takes far longer; a sound one milliseconds.
SECONDS_PER_FILE = 5
CORRUPTIONS = 400


@pytest.fixture(scope="module", params=["float32", "int8"])
def flatbuffer(request, step_models) -> bytes:
    return load_step_model(step_models("gru", request.param)).flatbuffer


@pytest.fixture(scope="module")
def tree(flatbuffer):
    """Read the file with the schema's own generated code."""
    return schema.ModelT.InitFromPackedBuf(flatbuffer, 0)


def values_by_name(enumeration: type) -> dict[str, int]:
    return {name: value for name, value in vars(enumeration).items() if name.isupper()}


def numbers(vector) -> tuple:
    return () if vector is None else tuple(vector)


def read_or_refuse(data: bytes) -> Graph | None:
    """The graph, or None where the reader refused; any other exception fails the test."""
    start = time.monotonic()
    try:
        return read_graph(data)
    except BadModelError:
        return None
    finally:
        assert time.monotonic() - start < SECONDS_PER_FILE


def test_operator_names_are_the_schemas():
    known = values_by_name(schema.BuiltinOperator)
    assert {name: OPERATOR_NAMES.index(name) for name in OPERATOR_NAMES} == {
        name: value for name, value in known.items() if value < len(OPERATOR_NAMES)
    }


def test_tensor_types_are_the_schemas():
    known = values_by_name(schema.TensorType)
    assert {name.upper(): number for number, (name, _) in enumerate(TENSOR_TYPES)} == {
        name: value for name, value in known.items() if value < len(TENSOR_TYPES)
    }


def test_element_sizes_are_numpys():
    sizes = {name: size for name, size in TENSOR_TYPES if size and name != "bfloat16"}
    assert sizes == {name: np.dtype(name).itemsize for name in sizes}


def test_tensors_agree_with_the_schema(flatbuffer, tree):
    names = {value: name.lower() for name, value in values_by_name(schema.TensorType).items()}
    expected = [
        (
            tensor.name.decode(),
            numbers(tensor.shape),
            names[tensor.type],
            numbers(tensor.quantization.scale if tensor.quantization else None),
            numbers(tensor.quantization.zeroPoint if tensor.quantization else None),
        )
        for tensor in tree.subgraphs[0].tensors
    ]
    found = read_graph(flatbuffer).tensors
    assert [(t.name, t.shape, t.dtype, t.scales, t.zero_points) for t in found] == expected
    assert [tensor.index for tensor in found] == list(range(len(found)))


def test_constant_sizes_agree_with_the_schema(flatbuffer, tree):
    expected = [
        len(numbers(tree.buffers[tensor.buffer].data)) for tensor in tree.subgraphs[0].tensors
    ]
    assert any(expected)
    assert [tensor.constant_bytes for tensor in read_graph(flatbuffer).tensors] == expected


def test_operators_agree_with_the_schema(flatbuffer, tree):
    names = {value: name for name, value in values_by_name(schema.BuiltinOperator).items()}
    expected = []
    for operator in tree.subgraphs[0].operators:
        code = tree.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs, outputs = numbers(operator.inputs), numbers(operator.outputs)
        expected.append((name, code.version, inputs, outputs))
    found = read_graph(flatbuffer).operators
    assert expected
    assert [(op.name, op.version, op.inputs, op.outputs) for op in found] == expected


def test_signatures_agree_with_the_schema(flatbuffer, tree):
    expected = [
        (
            signature.signatureKey.decode(),
            {item.name.decode(): item.tensorIndex for item in signature.inputs},
            {item.name.decode(): item.tensorIndex for item in signature.outputs},
            signature.subgraphIndex,
        )
        for signature in tree.signatureDefs
    ]
    graph = read_graph(flatbuffer)
    assert [(s.key, s.inputs, s.outputs, s.subgraph) for s in graph.signatures] == expected
    assert graph.subgraph_count == len(tree.subgraphs)


def test_appended_bytes_are_ignored(flatbuffer):
    assert read_graph(flatbuffer + b"PK anything") == read_graph(flatbuffer)


def test_byte_counts_are_numpys(flatbuffer):
    for tensor in read_graph(flatbuffer).tensors:
        assert tensor.byte_count == np.empty(tensor.shape, tensor.dtype).nbytes


def test_missing_signature_is_named(flatbuffer):
    with pytest.raises(BadModelError, match=r"no signature 'train' \(found: step\)"):
        read_graph(flatbuffer).signature("train")


@pytest.mark.parametrize(
    "data", [b"", b"T", b"\0" * 7, b"\x1c\0\0\0TFL2" + b"\0" * 99, b"PK\3\4" * 9]
)
def test_other_bytes_are_not_a_model(data):
    with pytest.raises(BadModelError, match="not a TFLite model"):
        read_graph(data)


def test_every_truncation_parses_or_is_refused(flatbuffer):
    lengths = {
        *range(200),
        *range(0, len(flatbuffer), 13),
        *range(len(flatbuffer) - 50, len(flatbuffer)),
    }
    refused = [read_or_refuse(flatbuffer[:length]) is None for length in sorted(lengths)]
    assert sum(refused) > len(refused) / 2


@pytest.mark.parametrize("changed_bytes", [1, 3, 30])
def test_corruption_parses_or_is_refused(flatbuffer, changed_bytes):
    rng = random.Random(changed_bytes)
    refused = 0
    for _ in range(CORRUPTIONS):
        damaged = bytearray(flatbuffer)
        for _ in range(changed_bytes):
            damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 127, 128, 255])
        refused += read_or_refuse(bytes(damaged)) is None
    assert refused > 0


def test_every_corrupt_word_of_the_tables_parses_or_is_refused(flatbuffer):
    """The tables lie around the weights: huge, negative and small offsets at every fourth byte."""
    for position in range(0, len(flatbuffer) - 4, 4):
        value = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0, 4)[position // 4 % 5]
        damaged = bytearray(flatbuffer)
        damaged[position : position + 4] = value.to_bytes(4, "little")
        read_or_refuse(bytes(damaged))


def name_tensor_in_operator(tree) -> None:
    tree.subgraphs[0].operators[0].inputs = [0, 999]


def name_negative_tensor_in_operator(tree) -> None:
    tree.subgraphs[0].operators[0].outputs = [-2]


def name_operator_code(tree) -> None:
    tree.subgraphs[0].operators[0].opcodeIndex = 999


def name_buffer(tree) -> None:
    tree.subgraphs[0].tensors[0].buffer = 999


def name_tensor_in_signature(tree) -> None:
    tree.signatureDefs[0].inputs[0].tensorIndex = 999


def name_subgraph_in_signature(tree) -> None:
    tree.signatureDefs[0].subgraphIndex = 999


def shorten_buffer(tree) -> None:
    buffer = next(buffer for buffer in tree.buffers if buffer.data is not None)
    buffer.data = buffer.data[:-1]


def place_buffer_outside(tree) -> None:
    tree.buffers[1].offset, tree.buffers[1].size = 1000, 10**9


def drop_subgraphs(tree) -> None:
    tree.subgraphs = []


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (name_tensor_in_operator, "operator names tensor 999"),
        (name_negative_tensor_in_operator, "operator names tensor -2"),
        (name_operator_code, "operator names code 999"),
        (name_buffer, "names buffer 999"),
        (name_tensor_in_signature, "signature names tensor 999"),
        (name_subgraph_in_signature, "signature names subgraph 999"),
        (shorten_buffer, "its buffer has"),
        (place_buffer_outside, "reaches past the end"),
        (drop_subgraphs, "no subgraph"),
    ],
)
def test_index_outside_is_refused(edit, part, workshop):
    with pytest.raises(BadModelError) as caught:
        read_graph(workshop.edited_graph(edit))
    assert part in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("deprecated", "code", "custom", "name"),
    [
        (0, 0, None, "ADD"),
        (schema.BuiltinOperator.TANH, 0, None, "TANH"),  # files of before 2020
        (127, schema.BuiltinOperator.GELU, None, "GELU"),
        (32, 32, b"MyCell", "CUSTOM:MyCell"),
        (127, 9999, None, "UNKNOWN_9999"),
    ],
)
def test_operator_codes_of_all_ages_are_read(deprecated, code, custom, name, workshop):
    def edit(tree) -> None:
        first = tree.operatorCodes[tree.subgraphs[0].operators[0].opcodeIndex]
        first.deprecatedBuiltinCode, first.builtinCode, first.customCode = deprecated, code, custom
        first.version = 7

    operator = read_graph(workshop.edited_graph(edit)).operators[0]
    assert (operator.name, operator.version) == (name, 7)


def test_table_before_the_file_is_refused():
    """Python would read a negative offset from the end of the bytes."""
    root, distance = (8).to_bytes(4, "little"), (100).to_bytes(4, "little")
    with pytest.raises(BadModelError, match="offset -92 outside"):
        read_graph(root + b"TFL3" + distance + bytes(300))


def test_vector_longer_than_the_file_is_refused_before_it_is_read():
    # A vtable at 8 (8 bytes: its size, the table's size, fields 0 and 1), its table at 16, whose
    # field 1, the operator codes, is a vector at 24 of 2**31 tables.
    vtable = struct.pack("<HHHH", 8, 8, 0, 4)
    table = struct.pack("<iI", 8, 4)
    data = struct.pack("<I", 16) + b"TFL3" + vtable + table + struct.pack("<I", 2**31) + bytes(64)
    with pytest.raises(BadModelError, match="vector reaches past the end"):
        read_graph(data)


@given(st.integers(0, 64), st.binary(max_size=400))
@example(0, b"")
@settings(max_examples=300, deadline=None)
def test_random_bytes_behind_the_identifier_parse_or_are_refused(root, noise):
    read_or_refuse(root.to_bytes(4, "little") + b"TFL3" + noise)


def test_shared_vectors_do_not_multiply_the_work():
    """N operators that all are one table with N inputs: N * N reads in a file of 8 * N bytes."""
    data = shared_vectors(4000)
    start = time.process_time()
    read_or_refuse(data)
    assert time.process_time() - start < 0.5


def shared_vectors(count: int) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(8 * count)

    def table(fields: int, **offsets: int) -> int:
        builder.StartObject(fields)
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(int(slot[1:]), offset, 0)
        return builder.EndObject()

    def vector(item: int, length: int = 1) -> int:
        builder.StartVector(4, length, 4)
        for _ in range(length):
            builder.PrependUOffsetTRelative(item)
        return builder.EndVector()

    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependInt32(0)
    inputs = builder.EndVector()
    codes, buffers, tensors = vector(table(4)), vector(table(1)), vector(table(1))
    operators = vector(table(9, _1=inputs), count)
    subgraphs = vector(table(6, _0=tensors, _3=operators))
    builder.Finish(table(8, _1=codes, _2=subgraphs, _4=buffers), b"TFL3")
    return bytes(builder.Output())
