"""Small files that would take gigabytes: one of each kind."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from device_runner.model.step_file import StepModel, pack, split_step_file


def packed(model: StepModel, flatbuffer: bytes) -> bytes:
    """A step model file with another flatbuffer, signed as if it were right."""
    contract = replace(model.contract, model_sha256=hashlib.sha256(flatbuffer).hexdigest())
    return pack(flatbuffer, contract, model.labels, model.golden)


def long_names(count: int = 40_000, length: int = 90_000) -> bytes:
    """A flatbuffer of many tensors with one long name: 3.6 GB of text in 260 kB."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder()
    name = builder.CreateString("n" * length)

    def table(kind: str, **fields: int) -> int:
        getattr(schema, f"{kind}Start")(builder)
        for field, value in fields.items():
            getattr(schema, f"{kind}Add{field}")(builder, value)
        made: int = getattr(schema, f"{kind}End")(builder)
        return made

    def vector(table: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(table)
        made: int = builder.EndVector()
        return made

    tensors = vector(table("Tensor", Name=name), count)
    subgraphs = vector(table("SubGraph", Tensors=tensors), 1)
    buffers = vector(table("Buffer"), 1)
    builder.Finish(table("Model", Subgraphs=subgraphs, Buffers=buffers), file_identifier=b"TFL3")
    return bytes(builder.Output())


def packed_twice(model: StepModel, megabytes: int = 80) -> bytes:
    """A step model whose golden.npz, packed in a packed ZIP, holds zeros: a kB for each MB."""
    inner, shape = io.BytesIO(), (megabytes * 2**18, 1)
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _write_zeros(archive, f"{model.contract.input.name}.npy", shape)
    return with_member(model, "golden.npz", inner.getvalue())


def _write_zeros(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> None:
    with archive.open(name, "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        for _ in range(shape[0] >> 18):
            member.write(bytes(2**20))


def lists(model: StepModel, count: int = 2_000_000) -> bytes:
    """A step model whose contract is JSON of millions of lists."""
    facts = json.loads(model.contract.to_json())
    facts["metrics"] = "LISTS"
    text = json.dumps(facts).replace('"LISTS"', '{"m":[' + "[]," * count + "[]]}")
    return with_member(model, "contract.json", text.encode())


def with_member(model: StepModel, name: str, content: bytes, packing: int = 8) -> bytes:
    """A step model file with another member of its ZIP."""
    data = model.path.read_bytes()
    flatbuffer, members = split_step_file(data)
    packed_file = io.BytesIO()
    packed_file.write(flatbuffer)
    with zipfile.ZipFile(packed_file, "a", zipfile.ZIP_DEFLATED) as archive:
        for member, old in members.items():
            is_new = member == name
            archive.writestr(member, content if is_new else old, packing if is_new else 8)
    return packed_file.getvalue()


def filled(model: StepModel, length: int = 30_000) -> bytes:
    """A step model with a FILL of gigabytes, which the file declares to be a single number."""
    from convert.tflite_editor import TfliteEditor

    editor = TfliteEditor(model.flatbuffer)
    state = model.graph.signature("step").inputs[model.contract.states[0].name]
    sizes = editor.add_indices("sizes", [length, length])
    value = editor.add_tensor("value", [], state, np.ones((), np.float32))
    out = editor.add_tensor("filled", [1], state)
    editor.insert_operator(0, "FILL", [sizes, value], [out])
    return packed(model, editor.flatbuffer())


def claimed_array(path: Path, shape: tuple[int, ...] = (2**32, 4)) -> Path:
    """A .npy file of a few bytes that claims to be of gigabytes."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        file.write(bytes(64))
    return path


def zeros(path: Path, megabytes: int) -> Path:
    """A .npz file of zeros, a thousandth as large as what it unpacks to."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _write_zeros(archive, "x.npy", (megabytes * 2**18, 1))
    return path


def unallocated(path: Path, values: int = 2**28) -> Path:
    """A .h5 file whose chunked set is not in the file: 1 GB of zeros in a few kB."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("weights", (values,), "<f4", chunks=(2**16,))
    return path
