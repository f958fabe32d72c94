"""Write the tables of operators beside this file by asking runtimes; for maintainers.

    python -m convert.targets.measure_runtime tflite-runtime      # or ai-edge-litert: runtimes.json
    python -m convert.targets.measure_runtime tflite-micro        # micro.json's operators
    python -m convert.targets.measure_runtime tensorflow          # operator_versions.json

A runtime looks up every operator that a file names before it reads the graph, and says which one it
does not find. So a file that names an operator and has no graph tells whether it is there.
TensorFlow knows the release in which each version of an operator came. This needs
``ai-edge-litert`` for the schema. The runtime that is asked is the only one in its process.
"""

from __future__ import annotations

import ctypes
import datetime
import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.targets import DATA, MICRO_FILE, RUNTIMES_FILE, VERSIONS_FILE
from convert.targets.runtimes import version_key
from convert.tflite_objects import naming_model
from device_runner.model.tflite_schema import CUSTOM_OPERATOR, OPERATOR_NAMES

# Higher than the highest version of any operator today.
VERSIONS = range(1, 21)
_MISSING = "Didn't find op"
# What a runtime answers that is older than the operator.
_TOO_NEW = "out of range"
# TensorFlow Lite Micro never had this one: an error about it means that the one before is there.
_NOWHERE = OPERATOR_NAMES.index("CONCAT_EMBEDDINGS")
# std::string tflite::FindMinimumRuntimeVersionForOp(BuiltinOperator, int), by the C++ ABI's name.
_FIND_VERSION = "_ZN6tflite30FindMinimumRuntimeVersionForOpB5cxx11ENS_15BuiltinOperatorEi"


def highest_versions(interpreter_class: Any) -> dict[str, int]:
    """Find the highest version that a TFLite interpreter has of each operator."""
    found: dict[str, int] = {}
    for number, name in enumerate(OPERATOR_NAMES):
        if number == CUSTOM_OPERATOR:
            continue
        there = [version for version in VERSIONS if _loads(interpreter_class, number, version)]
        if there:
            found[name] = there[-1]
    return found


def _loads(interpreter_class: Any, number: int, version: int) -> bool:
    try:
        interpreter_class(model_content=naming_model([(number, version)]))
    except (ValueError, RuntimeError) as error:
        if _MISSING not in str(error) and _TOO_NEW not in str(error):
            raise
        return False
    return True


def operators_in_micro() -> list[str]:
    """List the operators of ``tflite-micro``'s interpreter, which does not ask for a version.

    Each is tried in a process of its own: if the interpreter has it, it goes on to read the
    graph."""
    child = (
        "import sys; from tflite_micro import runtime; "
        "runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), arena_size=1 << 20)"
    )
    found = []
    for number, name in enumerate(OPERATOR_NAMES):
        if number in (CUSTOM_OPERATOR, _NOWHERE):
            continue
        done = subprocess.run(
            [sys.executable, "-c", child],
            input=naming_model([(number, 1), (_NOWHERE, 1)], use=True),
            capture_output=True,
            check=False,
        )
        answer = done.stderr.decode(errors="replace")
        missing = [line for line in answer.splitlines() if _MISSING in line]
        if not missing:
            print(f"{name} left out, it cannot be asked for: {answer[-200:]!r}", file=sys.stderr)
        elif f"'{name}'" not in missing[0]:
            found.append(name)
    return found


def operator_releases() -> dict[str, list[str | None]]:
    """Return by operator the TensorFlow Lite release in which its version 1, 2, ... came.

    None stands for a version that does not exist."""
    import tensorflow as tf

    library = ctypes.CDLL(str(Path(tf.__file__).parent / "libtensorflow_cc.so.2"))
    find = library[_FIND_VERSION]
    find.restype, find.argtypes = None, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]

    def release(number: int, version: int) -> str | None:
        result = (ctypes.c_uint64 * 4)()  # a std::string: address and length come first
        find(ctypes.addressof(result), number, version)
        return ctypes.string_at(result[0], result[1]).decode() or None

    found = {}
    for number, name in enumerate(OPERATOR_NAMES):
        releases = [release(number, version) for version in VERSIONS]
        while releases and releases[-1] is None:
            releases.pop()
        if releases:
            found[name] = releases
    return found


def main(distribution: str) -> None:
    """Ask one distribution and enter its answers into its table."""
    version = importlib.metadata.version(distribution)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    if distribution == "tensorflow":
        table = _read(VERSIONS_FILE)
        table["source"] = {
            "what": f"FindMinimumRuntimeVersionForOp of the library in tensorflow {version}",
            "where": "tensorflow/lite/tools/versioning/runtime_version.cc",
            "date": today,
        }
        table["operators"] = operator_releases()
        _write(VERSIONS_FILE, table)
    elif distribution == "tflite-micro":
        table = _read(MICRO_FILE)
        known = table["operators"]
        table["operators"] = {name: known.get(name, {}) for name in operators_in_micro()}
        _write(MICRO_FILE, table)
    else:
        module = importlib.import_module(distribution.replace("-", "_") + ".interpreter")
        runtime = {"distribution": distribution, "version": version, "date": today}
        _enter(runtime, highest_versions(module.Interpreter))


def _enter(runtime: dict[str, str], highest: dict[str, int]) -> None:
    """Put a runtime's column at its place in the table."""
    table = _read(RUNTIMES_FILE)
    columns = [
        (known, {name: row[index] for name, row in table["operators"].items()})
        for index, known in enumerate(table["runtimes"])
        if (known["distribution"], known["version"])
        != (runtime["distribution"], runtime["version"])
    ]
    columns.append((runtime, dict(highest)))
    columns.sort(key=lambda one: (one[0]["distribution"], version_key(one[0]["version"])))
    table["runtimes"] = [one for one, _ in columns]
    table["operators"] = {
        name: [known.get(name, 0) for _, known in columns]
        for name in OPERATOR_NAMES
        if any(known.get(name) for _, known in columns)
    }
    _write(RUNTIMES_FILE, table)


def _read(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((DATA / name).read_text())
    return table


def _write(name: str, table: Mapping[str, Any]) -> None:
    """Write a table as JSON with one operator a line."""
    lines = []
    for key, value in table.items():
        if isinstance(value, dict) and key == "operators":
            rows = ",\n".join(f"  {json.dumps(row)}: {json.dumps(value[row])}" for row in value)
            lines.append(f' "{key}": {{\n{rows}\n }}')
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in value)
            lines.append(f' "{key}": [\n{rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value)}')
    (DATA / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
