"""Damaged networks of other packages, and the command that imports them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.faults import mutations
from tests.faults.originals import DESCRIPTION

CONVERT = ("--target", "cpu", "--scheme", "float32", "--random-calibration")


def keras(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """A Keras model: an archive, or HDF5."""
    name = rng.choice(("new.keras", "new.keras", "old.keras", "new.h5", "old.h5"))
    content = (originals / name).read_bytes()

    def inner(member: str, data: bytes) -> bytes:
        if member.endswith(".json"):
            return mutations.damaged_json(json.loads(data), rng).encode("utf-8", "surrogatepass")
        return mutations.damaged(data, rng, 0, rng.choice((600, len(data))))

    if name.endswith(".keras"):
        (folder / name).write_bytes(mutations.damaged_zip(content, rng, inner))
    elif rng.random() < 0.5:
        _damaged_config(content, folder / name, rng)
    else:
        (folder / name).write_bytes(
            mutations.damaged(content, rng, 0, rng.choice((1000, len(content))))
        )
    return ["convert", name, *CONVERT]


def _damaged_config(content: bytes, path: Path, rng: random.Random) -> None:
    import h5py

    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        text = mutations.damaged_json(config, rng).replace("\0", "").encode("utf-8", "replace")
        file.attrs["model_config"] = text[:60_000]


def onnx(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """An ONNX network."""
    content = (originals / rng.choice(("sequence.onnx", "step.onnx"))).read_bytes()
    if rng.random() < 0.6:
        content = mutations.damaged(content, rng)
    else:
        content = _changed_network(content, rng)
    (folder / "net.onnx").write_bytes(content)
    return ["convert", "net.onnx", *CONVERT]


def _changed_network(content: bytes, rng: random.Random) -> bytes:
    """Change fields of an ONNX network's messages."""
    import onnx as package

    network = package.load_model_from_string(content)
    graph = network.graph
    for _ in range(rng.choice((1, 1, 2))):
        chosen = rng.choice(
            [graph, *[*graph.node] * 3, *graph.input, *graph.output, *graph.initializer]
        )
        field = rng.choice(chosen.DESCRIPTOR.fields)
        value = getattr(chosen, field.name)
        repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        if repeated and len(value):
            _change_repeated(chosen, field.name, rng)
        elif not repeated:
            for given in (mutations.text_of(rng), rng.choice((0, 1, -1, 7, 99, 2**31 - 1))):
                try:
                    setattr(chosen, field.name, given)
                    break
                except (TypeError, ValueError, AttributeError):
                    continue
    changed: bytes = network.SerializeToString()
    return changed


def _change_repeated(message: Any, name: str, rng: random.Random) -> None:
    values, kind = getattr(message, name), rng.randrange(3)
    if kind == 0:
        values.pop()
    elif kind == 1:
        values.append(values[0])
    else:
        message.ClearField(name)


def weights(rng: random.Random, folder: Path, originals: Path) -> list[str]:
    """A PyTorch network's weights, and the description of its layers."""
    name = rng.choice(("weights.safetensors",) * 3 + ("weights.pt",))
    content, description = (originals / name).read_bytes(), DESCRIPTION.encode()
    if rng.random() < 0.3:
        description = mutations.damaged_toml(DESCRIPTION, rng)
    elif name.endswith(".pt"):
        content = mutations.damaged_zip(content, rng, lambda _, one: mutations.damaged(one, rng))
    elif rng.random() < 0.5:
        length = int.from_bytes(content[:8], "little")
        header = mutations.damaged_json(json.loads(content[8 : 8 + length]), rng)
        data = header.encode("utf-8", "surrogatepass")
        content = len(data).to_bytes(8, "little") + data + content[8 + length :]
    else:
        content = mutations.damaged(content, rng, 0, rng.choice((16, len(content))))
    (folder / name).write_bytes(content)
    (folder / "net.toml").write_bytes(description)
    return ["convert", name, "--architecture", "net.toml", *CONVERT]
