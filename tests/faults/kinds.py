"""The kinds of files that are damaged, and the commands that get them.

A kind's function writes a damaged file into the folder where the command works, and returns the
command's arguments. The same number gives the same file.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from device_runner.model.contract import CONTRACT_FILE
from device_runner.model.golden import GOLDEN_FILE
from device_runner.model.step_file import LABELS_FILE, split_step_file
from tests.faults import imported_networks, mutations
from tests.faults.originals import RECIPE, ROOT
from tests.pipeline.test_inventory import FULL as FULL_INVENTORY

STEP_MODELS = sorted((ROOT / "tests" / "step_models").glob("*.tflite"))
FOREIGN = sorted((ROOT / "tests" / "foreign_files").glob("*.tflite"))
BENCH = ("bench", "--steps", "100", "--rounds", "1", "--warmup", "0", "--backend")
FRAMES = "\n".join(",".join(["0.25"] * 12) for _ in range(5)) + "\n"

#: Writes into a folder (the originals are in the other) and returns a command's arguments.
Maker = Callable[[random.Random, Path, Path], list[str]]


class Kind(NamedTuple):
    """What is damaged, its share of all cases, and whether its commands need TensorFlow."""

    make: Maker
    share: float
    needs_tensorflow: bool = False


@cache
def _parts(path: Path) -> tuple[bytes, dict[str, bytes]]:
    return split_step_file(path.read_bytes())


def _packed(flatbuffer: bytes, members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    packed.write(flatbuffer)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _signed(flatbuffer: bytes, members: dict[str, bytes]) -> bytes:
    """A step model whose contract has the hash of a damaged graph, as its maker could write it."""
    contract = json.loads(members[CONTRACT_FILE])
    contract["model_sha256"] = hashlib.sha256(flatbuffer).hexdigest()
    return _packed(flatbuffer, {**members, CONTRACT_FILE: json.dumps(contract).encode()})


def _step_command(rng: random.Random, path: Path) -> list[str]:
    """One of the commands that read a step model."""
    file, target = path.name, rng.choice(("cpu", "gpu", "edgetpu", "micro"))
    backend = rng.choice(("auto", "litert", "native", "reference", "tflite-runtime"))
    (path.parents[3] / "stdin").write_text(FRAMES)
    commands: tuple[tuple[str, ...], ...] = (
        ("inspect", file), ("inspect", file, "--json"), ("inspect", file, "--graph", "text"),
        ("inspect", file, "--graph", "x.dot"),
        ("verify", file, "--backend", backend), ("verify", file, "--backend", backend, "--json"),
        ("stream", file, "--backend", backend), (*BENCH, backend, file),
        (*BENCH, backend, file, "--output", "r.jsonl", "--json"),
        ("check", file, "--target", target), ("check", file, "--target", target, "--json"),
        ("export-onnx", file), ("export-c", file), ("compile-edgetpu", file), ("sample", file),
        ("export-web", file), ("translate", file), ("restore-contract", file, str(STEP_MODELS[0])),
    )  # fmt: skip
    return list(rng.choice(commands))


def graph_bytes(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """Any bytes of a step model's graph."""
    flatbuffer, members = _parts(rng.choice(STEP_MODELS))
    path = folder / "net.tflite"
    # Most of a file is weights; what describes the graph lies at its ends.
    size = len(flatbuffer)
    low, high = rng.choice(((0, size), (0, min(400, size)), (max(0, size - 9000), size)))
    path.write_bytes(_signed(mutations.damaged(flatbuffer, rng, low, high), members))
    return _step_command(rng, path)


def graph_objects(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """A field of a tensor, an operator, a buffer or a signature of a step model's graph."""
    flatbuffer, members = _parts(rng.choice(STEP_MODELS))
    path = folder / "net.tflite"
    path.write_bytes(_signed(_changed_graph(flatbuffer, rng), members))
    return _step_command(rng, path)


def _changed_graph(flatbuffer: bytes, rng: random.Random) -> bytes:
    from convert.tflite_editor import TfliteEditor

    while True:
        editor = TfliteEditor(flatbuffer)
        for _ in range(rng.choice((1, 1, 2, 3))):
            _change_object(editor.tree, rng)
        try:
            return editor.flatbuffer()
        # The schema's writer does not take all values.
        except (struct.error, TypeError, ValueError, AttributeError, OverflowError, AssertionError):
            continue


def _change_object(tree: Any, rng: random.Random) -> None:
    objects = [
        tree, *tree.operatorCodes, *tree.buffers, *(tree.signatureDefs or ()), *tree.subgraphs
    ]  # fmt: skip
    for graph in tree.subgraphs:
        objects += [*graph.tensors * 2, *graph.operators * 2]
        objects += [one.quantization for one in graph.tensors if one.quantization]
        objects += [one.builtinOptions for one in graph.operators if one.builtinOptions]
    for signature in tree.signatureDefs or ():
        objects += [*signature.inputs, *signature.outputs]
    chosen = rng.choice(objects)
    name = rng.choice(list(vars(chosen)))
    setattr(chosen, name, _changed_value(getattr(chosen, name), rng))


def _changed_value(value: Any, rng: random.Random) -> Any:
    small = rng.choice((0, 1, -1, 2, 3, 100, 127, 2**31 - 1, -(2**31), rng.randrange(200)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return small
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")))
    if isinstance(value, bytes | str):
        return mutations.text_of(rng).encode("utf-8", "replace")
    if isinstance(value, np.ndarray) and len(value):
        changed = value.copy()
        with np.errstate(all="ignore"):
            changed[rng.randrange(len(changed))] = np.array(small).astype(changed.dtype)
        return rng.choice((changed, changed, value[:-1], np.concatenate([value, value]), None))
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return rng.choice(
            ([], value[:at] + value[at + 1 :], [*value, value[at]], value[::-1], None)
        )
    return None


def contract(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """The contract of a step model, and its labels."""
    flatbuffer, members = _parts(rng.choice(STEP_MODELS))
    changed = dict(members)
    text = mutations.damaged_json(json.loads(members[CONTRACT_FILE]), rng)
    changed[CONTRACT_FILE] = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        changed[LABELS_FILE] = mutations.damaged_text(members[LABELS_FILE].decode(), rng)
    path = folder / "net.tflite"
    path.write_bytes(_packed(flatbuffer, changed))
    return _step_command(rng, path)


def golden(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """The golden sequences of a step model."""
    flatbuffer, members = _parts(rng.choice(STEP_MODELS))

    def inner(_: str, array: bytes) -> bytes:
        return mutations.damaged(array, rng, 0, 128)

    changed = {**members, GOLDEN_FILE: mutations.damaged_zip(members[GOLDEN_FILE], rng, inner)}
    path = folder / "net.tflite"
    path.write_bytes(_packed(flatbuffer, changed))
    return _step_command(rng, path)


def container(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """The ZIP archive behind a step model, and the whole file."""
    path = folder / "net.tflite"
    data = rng.choice(STEP_MODELS).read_bytes()
    inner = mutations.damaged_zip(data, rng, lambda _, member: mutations.damaged(member, rng))
    path.write_bytes(inner)
    return _step_command(rng, path)


def foreign(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """A TFLite file that edgestep did not make, which bench and inspect take as it is."""
    flatbuffer = rng.choice(FOREIGN).read_bytes()
    changed = mutations.damaged if rng.random() < 0.4 else lambda data, _: _changed_graph(data, rng)
    path = folder / "net.tflite"
    path.write_bytes(changed(flatbuffer, rng))
    backend = rng.choice(("litert", "reference", "tflite-runtime"))
    commands = (
        (*BENCH, backend, path.name), (*BENCH, backend, path.name, "--json"),
        ("inspect", path.name), ("inspect", path.name, "--json"),
        ("check", path.name, "--target", "cpu"),
    )  # fmt: skip
    return list(rng.choice(commands))


def adopted(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """The same files, for adopt."""
    foreign(rng, folder, originals)
    return ["adopt", "net.tflite"]


def data(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """Sequences to calibrate with."""
    name = rng.choice(
        ("frames.csv",) * 4 + ("frames.npy", "frames.npz", "packed.npz", "frames.parquet")
    )
    content = (originals / name).read_bytes()
    path = folder / name
    if name.endswith(".csv"):
        path.write_bytes(mutations.damaged_text(content.decode(), rng))
    elif name.endswith(".npz"):
        path.write_bytes(
            mutations.damaged_zip(content, rng, lambda _, one: mutations.damaged(one, rng, 0, 128))
        )
    else:
        high = rng.choice((128, len(content)))
        low = rng.choice((0, max(0, len(content) - 800))) if name.endswith("t") else 0
        path.write_bytes(mutations.damaged(content, rng, low, max(high, low + 1)))
    if rng.random() < 0.2:
        return ["read-data", name, "--vocabulary", "9"]
    if rng.random() < 0.1:
        return [*BENCH, "reference", str(FOREIGN[-1]), "--data", name]
    return ["read-data", name]


def recipe(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """A recipe."""
    there = sorted((ROOT / "recipes").glob("*.toml"))
    text = RECIPE if rng.random() < 0.7 else rng.choice(there).read_text()
    (folder / "recipe.toml").write_bytes(mutations.damaged_toml(text, rng))
    return ["read-recipe", "recipe.toml"]


def inventory(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """A list of devices."""
    (folder / "devices.toml").write_bytes(mutations.damaged_toml(FULL_INVENTORY, rng))
    return ["read-inventory", "devices.toml"]


def result(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """A result of bench: from a device, in a file that is appended to, in a finished run."""
    facts = json.loads((originals / "result.jsonl").read_text())
    text = mutations.damaged_json(facts, rng).encode("utf-8", "surrogatepass")
    kind = rng.randrange(3)
    if kind == 0:
        (folder / "r.jsonl").write_bytes(text)
        return ["read-result", "r.jsonl"]
    if kind == 1:
        ending = rng.choice((b"", b"\n"))
        (folder / "r.jsonl").write_bytes(
            rng.choice((text + ending, mutations.damaged(text + b"\n" + text, rng)))
        )
        return [*BENCH, "reference", str(STEP_MODELS[0]), "--output", "r.jsonl"]
    # A run of one model, as the list of techniques reads it.
    name, file = _measured_recipe()
    text = mutations.damaged_json({**facts, "file": file}, rng).encode("utf-8", "surrogatepass")
    (folder / "runs" / name).mkdir(parents=True)
    (folder / "runs" / name / "results.jsonl").write_bytes(text)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    return ["techniques", "--runs-dir", "runs", "--output", "t.md"]


@cache
def _measured_recipe() -> tuple[str, str]:
    """A recipe that 'techniques' reads, and a file that its run leaves."""
    from pipeline.networks import models_by_file
    from pipeline.recipe import load_recipe
    from pipeline.technique_table import load_techniques

    found = load_recipe(ROOT / load_techniques().cells[0])
    return found.name, next(iter(models_by_file(found)))


def judged(rng: random.Random, folder: Path, _: Path) -> list[str]:
    """What robustness and saliency read: frames, what is wanted of them, kept scores, the model."""
    frames = np.random.default_rng(3).normal(size=(2, 4, 12)).astype(np.float32)
    np.save(folder / "frames.npy", frames)
    name = rng.choice(("wanted.npy", "wanted.npz", "wanted.csv"))
    packed = io.BytesIO()
    if name.endswith("y"):
        np.save(packed, np.array([1, 8]))
    elif name.endswith("z"):
        np.savez(packed, a=np.array([1, 1, -1, 8]), b=np.zeros(4, np.int64))
    else:
        packed.write(b"speaker 1\nspeaker 9\n")
    content = packed.getvalue()
    model, chosen = rng.choice(STEP_MODELS[:4]), rng.randrange(4)
    flatbuffer, members = _parts(model)
    if chosen == 0:
        content = mutations.damaged(content, rng, 0, rng.choice((128, len(content))))
    elif chosen == 1:
        data = (folder / "frames.npy").read_bytes()
        (folder / "frames.npy").write_bytes(mutations.damaged(data, rng, 0, 128))
    elif chosen == 2:
        sha = json.loads(members[CONTRACT_FILE])["model_sha256"]
        key = {"model_sha256": sha, "data_sha256": sha, "disturbance": "none", "severity": 0.0}
        line = {"robustness_format": 1, "key": {**key, "seed": 0}, "score": 0.5}
        (folder / "r.jsonl").write_text(mutations.damaged_json(line, rng), errors="replace")
    else:
        flatbuffer = _changed_graph(flatbuffer, rng)
    (folder / name).write_bytes(content)
    (folder / "net.tflite").write_bytes(_signed(flatbuffer, members))
    given = ["net.tflite", "--data", "frames.npy", "--backend", "litert", "--output", "r.html"]
    if rng.random() < 0.3:
        return ["saliency", *given, "--sequences", "1"]
    return ["robustness", *given, "--wanted", name, "--seeds", "1"]


KINDS: dict[str, Kind] = {
    "graph: bytes": Kind(graph_bytes, 0.16),
    "graph: objects": Kind(graph_objects, 0.16),
    "contract": Kind(contract, 0.12),
    "golden": Kind(golden, 0.06),
    "container": Kind(container, 0.05),
    "foreign .tflite": Kind(foreign, 0.08),
    "data": Kind(data, 0.09),
    "recipe": Kind(recipe, 0.08),
    "inventory": Kind(inventory, 0.05),
    "result": Kind(result, 0.05),
    "adopted .tflite": Kind(adopted, 0.02, needs_tensorflow=True),
    ".keras and .h5": Kind(imported_networks.keras, 0.035, needs_tensorflow=True),
    ".onnx": Kind(imported_networks.onnx, 0.025, needs_tensorflow=True),
    ".safetensors and .pt": Kind(imported_networks.weights, 0.02, needs_tensorflow=True),
    "robustness and saliency": Kind(judged, 0.02, needs_tensorflow=True),
}
