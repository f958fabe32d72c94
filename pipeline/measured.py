"""Read what was measured of a folder's models, here and on other machines: results of ``bench``
that lie beside them.

``edgestep bench FOLDER/*.tflite --output FOLDER/NAME.jsonl`` puts them there, whatever the device,
and so does a copy of a file that a device wrote. Its graph's hash tells what belongs to a model.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.errors import one_line
from device_runner.measure.latency import BenchSettings
from device_runner.measure.paced import PacedSettings
from pipeline.remote.device_answers import read_result

# What the line of a result begins with: device_runner/measure/result_log.py.
_START = b'{"result_format"'
# What a machine without a name says of itself, and what an update does not change.
_FACTS = ("model", "cpu", "architecture", "cores", "memory_bytes")

#: Results with their files, by the model's hash, machine, backend and pace.
_Found = dict[tuple[str, str, str, str], tuple[Path, dict[str, Any]]]


@dataclass(frozen=True)
class DeviceCost:
    """What a step of a model takes on a device.

    Attributes:
        name: of the model, as the page calls it.
        device: the machine and the backend.
        p50_ns, p99_ns: of the step; None if there were too few steps.
        file_bytes: of the file.
        arena_bytes: memory that the runtime needs, where it tells.
        invalid: why the measurement must not be trusted; None if it may be.
        command: that measures so again.
    """

    name: str
    device: str
    p50_ns: int | None
    p99_ns: int | None
    file_bytes: int
    arena_bytes: int | None
    invalid: str | None
    command: str


@dataclass(frozen=True)
class MeasuredModel:
    """A result of a model.

    Attributes:
        name: of the model, as the page calls it.
        device: the machine and the backend.
        result: in the form of ``device_runner/measure/result.schema.json``.
        source: the file that it was in.
    """

    name: str
    device: str
    result: dict[str, Any]
    source: Path

    @property
    def paced(self) -> bool:
        return bool(self.result["settings"]["mode"] == "paced")

    @property
    def run_name(self) -> str:
        """Names a paced run."""
        period = self.result["settings"].get("period_s")
        pace = f", a frame every {1000 * period:g} ms" if period else ""
        return f"{self.name} on {self.device}{pace}"

    def cost(self) -> DeviceCost:
        result = self.result
        percentiles = result["latency_ns"]["step"]["percentiles"]
        return DeviceCost(
            name=self.name,
            device=self.device,
            p50_ns=percentiles["p50"],
            p99_ns=percentiles["p99"],
            file_bytes=result["file_bytes"],
            arena_bytes=result["arena_bytes"],
            invalid=result["invalid_reason"],
            command=self.command(),
        )

    def command(self) -> str:
        """The command that measures so again."""
        settings, result = self.result["settings"], self.result
        defaults: dict[str, Any] = {"threads": 1}
        if self.paced:
            words = ["--paced"]
            defaults |= {"duration_s": PacedSettings.duration_s, "period_s": None}
        else:
            words = []
            defaults |= {"steps": BenchSettings.steps, "rounds": BenchSettings.rounds,
                         "warmup_s": BenchSettings.warmup_s}  # fmt: skip
        for key, usual in defaults.items():
            if settings.get(key, usual) != usual:
                words += [f"--{key.removesuffix('_s')}", str(settings[key]).removesuffix(".0")]
        if "device" in result:
            words += ["--host", shlex.quote(result["device"])]
            # A device of another name is in an inventory; the result does not say in which.
            words += ["--inventory", "INVENTORY"] * ("@" not in result["device"])
        models = f"{shlex.quote(str(self.source.parent))}/*.tflite"
        return " ".join(["edgestep bench", models, "--backend", result["backend"], *words])


def read_measured(folder: Path, names: Mapping[str, str]) -> tuple[list[MeasuredModel], list[str]]:
    """Read all results of a folder's models, the newest of each on each device and at each pace.

    Args:
        names: of the models, by the SHA-256 of their graphs (``model_sha256`` of a contract).

    Returns:
        The results in the order of devices and then of ``names``; and what could not be read, a
        line each.
    """
    found: _Found = {}
    remarks: list[str] = []
    for path in sorted(folder.glob("*.jsonl"), key=lambda one: (one.name != "results.jsonl", one)):
        for result in _results(path, remarks):
            key = (result["model_sha256"], _machine(result), _backend(result),
                   _pace(result))  # fmt: skip
            if key[0] not in names:
                continue
            if key not in found or found[key][1]["started"] <= result["started"]:
                # Where it stands is decided by the first of them.
                found[key] = (path, result)
    labels = _labels(found)
    places = list(dict.fromkeys((key[1], key[2]) for key in found))
    machines, models = list(labels), list(names)
    keys = sorted(
        found,
        key=lambda key: (machines.index(key[1]), places.index(key[1:3]), models.index(key[0])),
    )
    return [
        MeasuredModel(names[key[0]], f"{labels[key[1]]}, {key[2]}", found[key][1], found[key][0])
        for key in keys
    ], remarks


def _results(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    """Read the results in a file; none if it holds something else."""
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        remarks.append(f"{path.name} cannot be read ({one_line(error)})")
        return []
    for number, line in enumerate(lines, 1):
        if not line.startswith(_START):
            continue
        try:
            found.append(read_result(line))
        except ValueError as error:
            remarks.append(f"{path.name}, line {number}, is no result and left out ({error})")
    return found


def _machine(result: Mapping[str, Any]) -> str:
    """What tells one machine from another: its name, or what it says of itself."""
    if "device" in result:
        return str(result["device"])
    facts = result["machine"]
    return json.dumps([facts.get(name) for name in _FACTS])


def _backend(result: Mapping[str, Any]) -> str:
    threads: int = result["settings"]["threads"]
    return str(result["backend"]) + f" ({threads} threads)" * (threads > 1)


def _pace(result: Mapping[str, Any]) -> str:
    settings = result["settings"]
    return f"{settings['mode']} {settings.get('period_s')}"


def _labels(found: _Found) -> dict[str, str]:
    """Name machines, so that no two have one name."""
    labels: dict[str, str] = {}
    for (_, machine, _, _), (_, result) in found.items():
        if machine in labels:
            continue
        facts = result["machine"]
        wanted = label = str(result.get("device") or facts["model"] or facts["architecture"])
        number = 2
        while label in labels.values():
            label, number = f"{wanted} [{number}]", number + 1
        labels[machine] = label
    return labels
