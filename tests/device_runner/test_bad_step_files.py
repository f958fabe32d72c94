"""Step model files with one thing wrong: each is refused in one line that says what to do."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from device_runner.model.step_file import MEMBER_LIMIT_BYTES


def member_entry(data: bytes, name: bytes) -> int:
    """Position of a member's entry in the ZIP's central directory."""
    return data.rindex(name) - 46


def patched(data: bytes, position: int, patch: bytes) -> bytes:
    return data[:position] + patch + data[position + len(patch) :]


def end_record(data: bytes) -> int:
    """Position of the ZIP's end-of-central-directory record."""
    return data.rindex(b"PK\5\6")


def golden_of(content: bytes) -> Callable:
    """Make a file whose golden.npz is a ZIP of one array file x.npy with these bytes."""

    def make(workshop) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.npy", content)
        return workshop.zipped(golden_npz=buffer.getvalue())

    return make


def array_file(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def spec_with(field: str, **changes) -> Callable:
    """Make a file whose contract has changes in the input, the output or its only state."""

    def make(workshop) -> bytes:
        raw = json.loads(workshop.members["contract.json"])
        if field == "state":
            return workshop.with_contract(states=[{**raw["states"][0], **changes}])
        return workshop.with_contract(**{f"{field}s": [{**raw[f"{field}s"][0], **changes}]})

    return make


def contract_with(**fields) -> Callable:
    return lambda workshop: workshop.with_contract(**fields)


# A tensor of token ids, but for its vocabulary.
TOKEN = {"shape": [1, 1], "dtype": "int32", "scale": None, "zero_point": None}


def added(side: str, **changes) -> Callable:
    """Make a file whose contract has a further input or output, like the first with changes."""

    def make(workshop) -> bytes:
        specs = json.loads(workshop.members["contract.json"])[side]
        return workshop.with_contract(**{side: [*specs, {**specs[0], **changes}]})

    return make


def twice(side: str) -> Callable:
    return added(side)


def golden_with(**arrays) -> Callable:
    return lambda workshop: workshop.with_golden(**arrays)


def rename_state(workshop) -> bytes:
    state = workshop.model.contract.states[0]
    other = replace(state, name="c")
    return workshop.packed(contract=replace(workshop.model.contract, states=(other,)))


def drop_state_from_contract(workshop) -> bytes:
    return workshop.packed(contract=replace(workshop.model.contract, states=()))


def drop_state_output(workshop) -> bytes:
    def edit(tree) -> None:
        outputs = tree.signatureDefs[0].outputs
        tree.signatureDefs[0].outputs = [item for item in outputs if item.name != b"h"]

    return workshop.with_graph(edit)


def drop_state_input(workshop) -> bytes:
    def edit(tree) -> None:
        inputs = tree.signatureDefs[0].inputs
        tree.signatureDefs[0].inputs = [item for item in inputs if item.name != b"h"]

    return workshop.with_graph(edit)


def state_output_is_the_output(workshop) -> bytes:
    def edit(tree) -> None:
        bound = {item.name: item for item in tree.signatureDefs[0].outputs}
        bound[b"h"].tensorIndex = bound[b"y"].tensorIndex

    return workshop.with_graph(edit)


def state_scales_differ(workshop) -> bytes:
    def edit(tree) -> None:
        bound = {item.name: item.tensorIndex for item in tree.signatureDefs[0].outputs}
        tree.subgraphs[0].tensors[bound[b"h"]].quantization.scale = [0.25]

    return workshop.with_graph(edit)


def state_is_a_constant(workshop) -> bytes:
    def edit(tree) -> None:
        from ai_edge_litert.schema_py_generated import BufferT

        weights = BufferT()
        weights.data = np.zeros(16, np.uint8)
        tree.buffers.append(weights)
        bound = {item.name: item.tensorIndex for item in tree.signatureDefs[0].inputs}
        tree.subgraphs[0].tensors[bound[b"h"]].buffer = len(tree.buffers) - 1

    return workshop.with_graph(edit)


def other_signature(workshop) -> bytes:
    def edit(tree) -> None:
        tree.signatureDefs[0].signatureKey = b"serving_default"

    return workshop.with_graph(edit)


def change_weight(workshop) -> bytes:
    graph_bytes = workshop.model.flatbuffer
    middle = max(
        range(0, len(graph_bytes) - 64, 8), key=lambda at: len({*graph_bytes[at : at + 64]})
    )
    return patched(workshop.data, middle, bytes([graph_bytes[middle] ^ 1]))


def lying_size(workshop) -> bytes:
    """Make a member that unpacks to 80 MB and says that it is of 100 bytes."""
    data = workshop.zipped(contract_json=bytes(80_000_000))
    return patched(data, member_entry(data, b"contract.json") + 24, struct.pack("<I", 100))


def member_outside(workshop) -> bytes:
    """Make a ZIP whose central directory claims to be a MiB further on than it is."""
    at = end_record(workshop.data) + 16
    (offset,) = struct.unpack_from("<I", workshop.data, at)
    return patched(workshop.data, at, struct.pack("<I", offset + 2**20))


def undecodable_member_name(workshop) -> bytes:
    entry = member_entry(workshop.data, b"labels.txt")
    data = patched(workshop.data, entry + 8, struct.pack("<H", 0x800))
    return patched(data, entry + 46, b"\xff")


def corrupted_member(workshop) -> bytes:
    inside = workshop.data.index(b"contract.json") + 200
    return patched(workshop.data, inside, b"\0\xff\0\xff")


def wrong_checksum(workshop) -> bytes:
    entry = member_entry(workshop.data, b"labels.txt")
    return patched(workshop.data, entry + 16, b"\1\2\3\4")


# name: (how to make it, what the message must contain)
WHOLE_FILE = {
    "empty": (lambda w: b"", "is empty"),
    "short": (lambda w: b"TFL", "is a text file, not a TFLite file"),
    "random": (lambda w: random.Random(1).randbytes(5000), "not a TFLite model"),
    "text": (lambda w: b"speaker 1, speaker 2\n" * 9, "is a text file, not a TFLite file"),
    "zip": (lambda w: w.data[len(w.model.flatbuffer) :], "is a ZIP archive, not a TFLite file"),
    "truncated": (lambda w: w.data[:-1000], "no step contract"),
    "truncated-in-the-graph": (lambda w: w.data[: len(w.model.flatbuffer) // 3], "damaged"),
    "without-contract": (lambda w: w.model.flatbuffer, "no step contract"),
    "weight-changed": (change_weight, "SHA-256 differs"),
    "member-corrupted": (corrupted_member, "contract"),
    "member-checksum": (wrong_checksum, "CRC"),
    "member-outside": (member_outside, "contract"),
    "member-name": (undecodable_member_name, "contract"),
}
CONTRACT = {
    "not-json": (lambda w: w.zipped(contract_json=b"{"), "not JSON"),
    "not-text": (lambda w: w.zipped(contract_json=b"\xff\xfe"), "not text"),
    "not-an-object": (lambda w: w.zipped(contract_json=b"[]"), "no object"),
    "nested": (lambda w: w.zipped(contract_json=b"[" * 100_000), "JSON"),
    "format": (contract_with(format_version=5), "contract format 5"),
    "rows-in-an-earlier-format": (contract_with(rows=2), "unknown field 'rows'"),
    "rows-zero": (contract_with(format_version=4, rows=0), "rows is 0"),
    "rows-text": (contract_with(format_version=4, rows="2"), "rows is '2'"),
    "rows-true": (contract_with(format_version=4, rows=True), "rows is True"),
    "rows-that-no-tensor-has": (contract_with(format_version=4, rows=3), "not of 3 rows"),
    "earlier-format": (contract_with(format_version=1), "contract format 1"),
    "unknown-field": (contract_with(flavour="x"), "unknown field 'flavour'"),
    "unknown-field-of-two-lines": (contract_with(**{"a\nb": 1}), "unknown field"),
    "unknown-tensor-field": (spec_with("input", flavour=1), "flavour"),
    "field-missing": (
        lambda w: w.zipped(contract_json=b'{"format_version":2}'),
        "lacks the field 'inputs'",
    ),
    "inputs-are-null": (contract_with(inputs=None), "malformed"),
    "input-is-null": (contract_with(inputs=[None]), "malformed"),
    "no-input": (contract_with(inputs=[]), "there is no input"),
    "no-output": (contract_with(outputs=[]), "there is no output"),
    "input-twice": (twice("inputs"), "two inputs, outputs or states are called 'x'"),
    "output-twice": (twice("outputs"), "two inputs, outputs or states are called 'y'"),
    "input-called-lengths": (added("inputs", name="lengths"), "may be called 'lengths'"),
    "input-too-many": (added("inputs", name="more"), "the contract names ['h', 'more', 'x']"),
    "output-too-many": (added("outputs", name="more"), "the contract names ['h', 'more', 'y']"),
    "input-without-axis": (spec_with("input", shape=[]), "without an axis"),
    "vocabulary-of-int8": (spec_with("input", vocabulary=9), "vocabulary of 9"),
    "vocabulary-zero": (spec_with("input", **TOKEN, vocabulary=0), "vocabulary of 0"),
    "vocabulary-text": (spec_with("input", **TOKEN, vocabulary="9"), "vocabulary of 9"),
    "vocabulary-of-two": (
        spec_with("input", **{**TOKEN, "shape": [1, 2]}, vocabulary=9),
        "token ids are",
    ),
    "vocabulary-missing": (spec_with("input", **TOKEN), "has no vocabulary"),
    "vocabulary-of-the-output": (spec_with("output", **TOKEN, vocabulary=9), "is not an input"),
    "output-of-ids": (spec_with("output", **TOKEN), "output 'y' has no scale"),
    "vocabulary-of-floats": (spec_with("input", **TOKEN, vocabulary=9), "input 'x' has shape"),
    "front-end-text": (contract_with(front_end="words"), "front_end must be an object"),
    "input-scale": (spec_with("input", scale=0.5), "input 'x' has scale"),
    "input-zero-point": (spec_with("input", zero_point=3), "input 'x' has zero point"),
    "output-shape": (spec_with("output", shape=[1, 3]), "output 'y' has shape"),
    "output-dtype": (spec_with("output", dtype="int16"), "output 'y' has dtype"),
    "state-scale": (spec_with("state", scale=0.25), "state-in 'h' has scale"),
    "state-out-scale": (state_scales_differ, "state-out 'h' has scale 0.25"),
    "dtype-unknown": (spec_with("state", dtype="float12"), "float12"),
    "dtype-no-number": (spec_with("state", dtype="datetime64"), "datetime64"),
    "shape-negative": (spec_with("input", shape=[-1, 12]), "shape"),
    "int8-without-scale": (spec_with("input", scale=None), "without scale"),
    "input-name": (spec_with("input", name="frame"), "unpaired states: the step's inputs are"),
    "period-zero": (contract_with(frame_period_s=0), "frame_period_s"),
    "period-huge": (contract_with(frame_period_s=10**400), "frame_period_s"),
    "tolerance-text": (
        contract_with(tolerance={"rms": "1", "max_abs": 1, "argmax_agreement": 1}),
        "tolerance",
    ),
    "initial-unknown": (spec_with("state", initial="ones"), "starts from the unknown"),
    "initial-few": (spec_with("state", initial=[1, 2]), "2 initial values"),
    "initial-number": (spec_with("state", initial=5), "initial"),
    "initial-text": (spec_with("state", initial=["a"] * 16), "initial"),
    "initial-out-of-range": (spec_with("state", initial=[300] * 16), "initial"),
    "metrics-list": (contract_with(metrics=[1]), "metrics"),
    "states-renamed": (rename_state, "unpaired states"),
    "states-forgotten": (drop_state_from_contract, "unpaired states"),
    "state-without-output": (drop_state_output, "unpaired states"),
    "state-without-input": (drop_state_input, "unpaired states"),
    "state-is-the-output": (state_output_is_the_output, "one tensor"),
    "state-is-constant": (state_is_a_constant, "constant"),
    "other-signature": (other_signature, "no signature 'step'"),
    "few-labels": (lambda w: w.packed(labels=("a",)), "label"),
    "labels-not-text": (lambda w: w.zipped(labels_txt=b"\xff"), "labels.txt is not text"),
    "bomb": (
        lambda w: w.zipped(contract_json=bytes(MEMBER_LIMIT_BYTES + 1)),
        f"would unpack to {MEMBER_LIMIT_BYTES + 1} bytes",
    ),
}
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 12), }"
GOLDEN = {
    "golden-text": (lambda w: w.zipped(golden_npz=b"no arrays"), "golden.npz"),
    "golden-empty": (lambda w: w.zipped(golden_npz=b""), "golden.npz"),
    "golden-bare-pickle": (
        lambda w: w.zipped(golden_npz=pickle.dumps({"x": 1})),
        "golden.npz",
    ),
    "golden-object-array": (golden_with(y=np.array([{}], object)), "allow_pickle=False"),
    "golden-array-missing": (golden_of(array_file(HUGE.replace("1099511627776", "0"))), "'y"),
    "golden-nan": (golden_with(y=np.full((48, 9), np.nan, np.float32)), "holds NaN"),
    "golden-infinity": (golden_with(x=np.full((48, 12), np.inf, np.float32)), "holds NaN"),
    "golden-width": (golden_with(x=np.zeros((48, 11), np.float32)), "shape (48, 11)"),
    "golden-steps": (golden_with(lengths=np.array([16, 8])), "expected (24, 12)"),
    "golden-no-steps": (
        golden_with(x=np.zeros((0, 12)), y=np.zeros((0, 9)), lengths=np.zeros(0, int)),
        "golden.npz",
    ),
    "golden-negative-length": (golden_with(lengths=np.array([64, -16])), "golden.npz"),
    "golden-lengths-number": (golden_with(lengths=np.array(48)), "golden.npz"),
    "golden-one-array": (
        lambda w: w.zipped(golden_npz=array_file(HUGE.replace("1099511627776", "0"))),
        "golden.npz",
    ),
    "golden-huge-array": (golden_of(array_file(HUGE)), "golden.npz"),
    "golden-header": (golden_of(array_file("{((((")), "golden.npz"),
}
BAD_FILES = {**WHOLE_FILE, **CONTRACT, **GOLDEN}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_in_one_line(name, workshop, refusal):
    make, part = BAD_FILES[name]
    assert part in refusal(workshop.write(make(workshop)))


@pytest.mark.parametrize("name", BAD_FILES)
def test_refusal_says_what_to_do(name, workshop, refusal, says_what_to_do):
    make, _ = BAD_FILES[name]
    assert says_what_to_do(refusal(workshop.write(make(workshop))))


def test_missing_file_is_refused(tmp_path, refusal):
    assert "no such file; check the path" in refusal(tmp_path / "nothing.tflite")


def test_folder_is_refused(tmp_path, refusal):
    assert "is a folder; name a .tflite file" in refusal(tmp_path)


def test_path_through_a_file_is_refused(int8_file, refusal):
    assert "cannot be read (Not a directory)" in refusal(int8_file / "model.tflite")


@pytest.mark.parametrize("member", ["contract.json", "labels.txt", "golden.npz"])
def test_missing_member_is_named(member, workshop, refusal, says_what_to_do):
    buffer = io.BytesIO()
    buffer.write(workshop.model.flatbuffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in workshop.members.items():
            if name != member:
                archive.writestr(name, content)
    message = refusal(workshop.write(buffer.getvalue()))
    assert f"no {member} in the file" in message
    assert says_what_to_do(message)
