"""Find which TFLite runtimes load a file, by the versions of the operators that it names.

Two tables lie beside this file: the TensorFlow Lite release in which each version of an operator
came (TensorFlow knows it), and what runtimes from PyPI have (measured by asking them). That a
runtime loads a file means that it has the operators, not that its kernels take every dtype:
``edgestep verify`` finds that out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from convert.errors import UnknownRuntimeError
from convert.targets import DATA, RUNTIMES_FILE, VERSIONS_FILE

#: Distributions whose version is that of the TensorFlow Lite in them.
NUMBERED_AS_TENSORFLOW = ("tflite-runtime", "tensorflow")
LITERT = "ai-edge-litert"
DISTRIBUTIONS = (*NUMBERED_AS_TENSORFLOW, LITERT)


@dataclass(frozen=True)
class Runtime:
    """A runtime by distribution and version, and the version that its operators are known from."""

    distribution: str
    version: str
    known_from: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def judged_by(self) -> str | None:
        """The older release that stands in for an unknown version; None if the version is known."""
        if self.known_from == VERSIONS_FILE:
            newest = _newest_release()
            newer = version_key(self.version) > version_key(newest)
            return f"TensorFlow Lite {newest}" if newer else None
        same = self.known_from == self.version
        return None if same else f"{self.distribution} {self.known_from}"

    def refusal(self, operator: str, version: int) -> str | None:
        """Say why the runtime lacks this version of an operator; None if it has it."""
        column = _measured().get((self.distribution, self.known_from))
        if column is not None:
            highest = column.get(operator, 0)
            if not highest:
                return f"{self} has no {operator}"
            if version > highest:
                return f"{self} has {operator} up to version {highest}"
            return None
        release = release_of(operator, version)
        if release is None:
            return f"{self} is not known to have {operator} version {version}"
        if version_key(release) > version_key(self.version):
            return f"{operator} version {version} came with TensorFlow Lite {release}"
        return None


def get_runtime(text: str) -> Runtime:
    """Parse ``NAME==VERSION``, or ``NAME`` for the newest known version.

    Raises:
        UnknownRuntimeError: the distribution or its version is unknown.
    """
    name, separator, version = text.partition("==")
    name = name.strip()
    if name not in DISTRIBUTIONS:
        raise UnknownRuntimeError("runtime", name, DISTRIBUTIONS)
    measured = [known for distribution, known in _measured() if distribution == name]
    if not separator:
        version = measured[-1] if measured else _newest_release()
    version = version.strip()
    if not version_key(version):
        raise UnknownRuntimeError("runtime", text, [f"{name}=={one}" for one in measured])
    if version in measured:
        return Runtime(name, version, version)
    if name in NUMBERED_AS_TENSORFLOW:
        return Runtime(name, version, VERSIONS_FILE)
    older = [one for one in measured if version_key(one) <= version_key(version)]
    if not older:
        raise UnknownRuntimeError("runtime", text, [f"{name}=={one}" for one in measured])
    # A runtime has what the one before it had.
    return Runtime(name, version, older[-1])


def measured_runtimes() -> tuple[Runtime, ...]:
    """List the runtimes whose operators were measured, the oldest of each distribution first."""
    return tuple(Runtime(name, version, version) for name, version in _measured())


def release_of(operator: str, version: int) -> str | None:
    """Return the TensorFlow Lite release that brought a version of an operator; None if unknown."""
    releases = _releases().get(operator, [])
    return releases[version - 1] if 1 <= version <= len(releases) else None


def oldest_runtimes(operators: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """Find the oldest runtimes that have all of these operators (name, version).

    Returns:
        ``tensorflow_lite``: the oldest release, None if one of the operators is in no known
        release. ``because``: the operators that need it, as "NAME version N". And by measured
        distribution: the oldest version that has all operators, None if none has.
    """
    wanted = sorted(set(operators))
    releases = {one: release_of(*one) for one in wanted}
    unknown = [one for one, release in releases.items() if release is None]
    known = [release for release in releases.values() if release is not None]
    newest = max(known, key=version_key, default=None)
    because = unknown or [one for one, release in releases.items() if release == newest]
    found: dict[str, Any] = {
        "tensorflow_lite": None if unknown else newest,
        "because": [f"{name} version {version}" for name, version in because],
    }
    for runtime in reversed(measured_runtimes()):
        found.setdefault(runtime.distribution, None)
        if not any(runtime.refusal(name, version) for name, version in wanted):
            found[runtime.distribution] = runtime.version
    return found


def version_key(version: str) -> tuple[int, ...]:
    """Split a numeric version into numbers for comparison; () for anything else."""
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        return ()


def _newest_release() -> str:
    everything = (one for releases in _releases().values() for one in releases if one)
    return max(everything, key=version_key)


@functools.cache
def _releases() -> dict[str, list[str | None]]:
    operators: dict[str, list[str | None]] = _read(VERSIONS_FILE)["operators"]
    return operators


@functools.cache
def _measured() -> dict[tuple[str, str], dict[str, int]]:
    """Return the highest version of each operator, by (distribution, version), oldest first."""
    table = _read(RUNTIMES_FILE)
    return {
        (runtime["distribution"], runtime["version"]): {
            name: row[index] for name, row in table["operators"].items()
        }
        for index, runtime in enumerate(table["runtimes"])
    }


def _read(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return table
