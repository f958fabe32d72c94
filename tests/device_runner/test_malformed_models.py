"""Mutated model files: every command ends with one line and a code, whatever the bytes are.

Two kinds. Files that were damaged: the SHA-256 in the contract finds them before a runtime does,
so the commands run in this process. And files that were made: the hash is right, so a runtime gets
them, which may crash on them; those run as users run them, in processes of their own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.targets import TARGETS
from device_runner.errors import BadModelError
from device_runner.model.step_file import load_step_model, pack, split_step_file
from pipeline.cli import main

SHORT = ("--steps", "100", "--rounds", "1", "--warmup", "0")
# What a command may end with: all well, a bad model, no such runtime, another result.
CODES = {0, 3, 4, 5}


def damaged(
    data: bytes, flatbuffer: bytes, members: dict[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Files whose hash, if they have one, is not theirs."""
    rng = random.Random(20)
    for length in (0, 1, 7, 8, 40, *(len(data) * i // 25 for i in range(1, 25)), len(data) - 1):
        yield f"cut to {length}", data[:length]
    for number in range(70):
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 3, 20])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        yield f"flipped {number}", bytes(changed)
    for number in range(25):
        position = rng.randrange(0, len(flatbuffer) - 4)
        word = rng.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000]).to_bytes(4, "little")
        yield f"word {number}", data[:position] + word + data[position + 4 :]
    for name in members:
        yield f"without {name}", _zipped(flatbuffer, {**members, name: None})
        yield f"empty {name}", _zipped(flatbuffer, {**members, name: b""})
        yield f"noise in {name}", _zipped(flatbuffer, {**members, name: rng.randbytes(400)})
    bomb = b"\0" * 80_000_000
    yield "bomb", _zipped(flatbuffer, {**members, "labels.txt": bomb})
    yield "bomb of another name", _zipped(flatbuffer, {**members, "bomb.bin": bomb})
    yield (
        "bomb that lies",
        _zipped(flatbuffer, {**members, "labels.txt": bomb}).replace(
            len(bomb).to_bytes(4, "little"), (9).to_bytes(4, "little")
        ),
    )
    yield "bomb of arrays", _zipped(flatbuffer, {**members, "golden.npz": _array_bomb()})
    yield "path", _zipped(flatbuffer, {**members, "../../outside": b"x"})
    yield "absolute path", _zipped(flatbuffer, {**members, "/tmp/outside": b"x"})
    yield "twice", data + data
    yield "pickle", _zipped(flatbuffer, {**members, "golden.npz": _pickle()})
    yield "another format", b"PK\3\4" + data[4:]
    yield "not at the start", b"\0" * 16 + data
    yield "text", b"model" * 100
    contract = json.loads(members["contract.json"])
    for field in ("inputs", "outputs", "states", "tolerance", "model_sha256", "frame_period_s"):
        for value in (None, [], {}, -1, "x", [[1]], 10**400):
            changed = json.dumps({**contract, field: value}).encode()
            yield (
                f"{field} {str(value)[:5]}",
                _zipped(flatbuffer, {**members, "contract.json": changed}),
            )


def _zipped(flatbuffer: bytes, members: dict[str, bytes | None]) -> bytes:
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return buffer.getvalue()


def _array_bomb() -> bytes:
    """Make a golden file whose header promises far more than the file has."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.zeros((3, 4), np.float16), y=np.zeros((3, 4)), lengths=[3])
    return buffer.getvalue().replace(b"(3, 4)", b"(9**9)")


def _pickle() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([os.system], dtype=object), y=np.zeros(1), lengths=np.array([1]))
    return buffer.getvalue()


def test_damaged_files_end_in_one_line(invoke, int8_file, tmp_path, error_line):
    from click.testing import CliRunner

    data = int8_file.read_bytes()
    model = load_step_model(int8_file)
    files = list(damaged(data, model.flatbuffer, split_step_file(data)[1]))
    assert len(files) >= 150
    refused = 0
    for number, (name, content) in enumerate(files):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        try:
            same = load_step_model(path).flatbuffer == model.flatbuffer
            assert same, f"{name}: the hash does not protect the model"
        except BadModelError:
            refused += 1
            same = False
        commands = [("inspect", path), ("verify", path, "--backend", "litert")]
        commands += [("bench", path, "--backend", "litert", *SHORT)]
        for command in commands:
            result = invoke(*command)
            assert result.exit_code in (CODES if same else {3}), f"{name}: {result.output}"
            if result.exit_code:
                assert str(path) in error_line(result), name
        for options in (
            ("check", "--target", list(TARGETS)[number % len(TARGETS)]),
            ("inspect", "--graph", "text"),
        ):
            result = CliRunner().invoke(main, [options[0], str(path), *options[1:]])
            assert result.exit_code in {0, 3, 5}, f"{name}: {result.output}"
            if result.exit_code:
                assert len(error_line(result)) < 2000
        path.unlink()
    assert refused > 140
    assert not (tmp_path.parent / "outside").exists()


def resigned(model, count: int, seed: int) -> Iterator[bytes]:
    """Files of changed flatbuffers with the hash that belongs to them."""
    rng = random.Random(seed)
    made = 0
    # Most bytes are weights, where a change is only another network: the words of the tables are
    # those between them.
    weights = [
        (tensor.constant_start, tensor.constant_start + tensor.constant_bytes)
        for tensor in model.graph.tensors
        if tensor.constant_bytes
    ]
    outside = [
        position
        for position in range(len(model.flatbuffer) - 4)
        if not any(start <= position < end for start, end in weights)
    ]
    while made < count:
        changed = bytearray(model.flatbuffer)
        for _ in range(rng.choice([1, 1, 2])):
            position = rng.choice(outside)
            if rng.random() < 0.5:
                changed[position] = rng.choice([0, 1, 2, 3, 9, 127, 128, 255])
            else:
                value = rng.choice([0, 1, 2, 17, 100_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
                changed[position : position + 4] = value.to_bytes(4, "little")
        flatbuffer = bytes(changed)
        digest = hashlib.sha256(flatbuffer).hexdigest()
        contract = replace(model.contract, model_sha256=digest)
        data = pack(flatbuffer, contract, model.labels, model.golden)
        try:
            split = split_step_file(data)[0]
            assert split == flatbuffer
            yield data
            made += 1
        except BadModelError:
            continue


def run_as_a_user(path: Path, backend: str, command: str) -> str | None:
    """Say what is wrong with how a command ended on a file; None if it ended as it should."""
    options = SHORT if command == "bench" else ()
    done = subprocess.run(
        [sys.executable, "-m", "device_runner", command, "--backend", backend, str(path), *options],
        capture_output=True, text=True, errors="replace", timeout=400, check=False,
    )  # fmt: skip
    if done.returncode not in CODES or "Traceback" in done.stderr:
        return f"{path} {backend} {command}: code {done.returncode}: {done.stderr[-800:]}"
    # Native code may say something before, but what we say is one line, the last.
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    if done.returncode and (len(errors) != 1 or done.stderr.splitlines()[-1] != errors[0]):
        return f"{path} {backend} {command}: not one line: {done.stderr[-800:]}"
    return None


def ended_wrongly(
    model, folder: Path, count: int, seed: int, cases: list[tuple[str, str]]
) -> list[str]:
    files = []
    for number, data in enumerate(resigned(model, count, seed)):
        path = folder / f"made-{number}.tflite"
        path.write_bytes(data)
        try:
            load_step_model(path)
        except BadModelError:
            continue  # the reader finds it: as in the other test
        files.append(path)
    assert files
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run_as_a_user, path, backend, command)
            for path in files
            for backend, command in cases
        ]
        return [problem for run in runs if (problem := run.result())]


def test_made_files_cannot_crash_a_command(int8_file, tmp_path):
    model = load_step_model(int8_file)
    assert ended_wrongly(model, tmp_path, 40, 3, [("litert", "verify")]) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["litert", "tflite-runtime", "micro", "reference"])
def test_many_made_files_cannot_crash_a_command(int8_file, tmp_path, backend):
    modules = {"tflite-runtime": "tflite_runtime", "micro": "tflite_micro"}
    if backend in modules and importlib.util.find_spec(modules[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    model = load_step_model(int8_file)
    cases = [(backend, "verify"), (backend, "bench")]
    assert ended_wrongly(model, tmp_path, 150, 4, cases) == []
