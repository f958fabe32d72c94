"""Which TFLite runtimes load a file: by the versions of the operators that it names.

Two tables beside this file: the release of TensorFlow Lite in which each version of an operator
came (TensorFlow keeps it), and what runtimes of PyPI have (measured by asking them). That a runtime
loads a file says that it has the operators, not that its kernels take every dtype: ``edgestep
verify`` finds that out.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from convert.errors import UnknownRuntimeError
from convert.targets import DATA, RUNTIMES_FILE, VERSIONS_FILE

#: Distributions whose own version is the release of TensorFlow Lite that is in them.
NUMBERED_AS_TENSORFLOW = ("tflite-runtime", "tensorflow")
LITERT = "ai-edge-litert"
#: Asks for no version of an operator; its operators are in the profile of the target micro.
MICRO = "tflite-micro"
DISTRIBUTIONS = (*NUMBERED_AS_TENSORFLOW, LITERT)


@dataclass(frozen=True)
class Runtime:
    """A runtime by distribution and version, and where its operators are known from."""

    distribution: str
    version: str
    known_from: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def judged_by(self) -> str | None:
        """The older release that stands in for a version that is not known here; else None."""
        if self.known_from == VERSIONS_FILE:
            newest = _newest_release()
            newer = version_key(self.version) > version_key(newest)
            return f"TensorFlow Lite {newest}" if newer else None
        same = self.known_from == self.version
        return None if same else f"{self.distribution} {self.known_from}"

    def refusal(self, operator: str, version: int) -> str | None:
        """Why the runtime does not have this version of an operator; None where it has it."""
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
    """A runtime from ``NAME==VERSION`` or ``NAME`` (the newest that is known).

    Raises:
        UnknownRuntimeError: no such distribution, or its version is not known here.
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
    # What a runtime had, the next one has.
    return Runtime(name, version, older[-1])


def measured_runtimes() -> tuple[Runtime, ...]:
    """The runtimes whose operators were measured, the oldest of each distribution first."""
    return tuple(Runtime(name, version, version) for name, version in _measured())


def release_of(operator: str, version: int) -> str | None:
    """The release of TensorFlow Lite in which a version of an operator came; None where that is not
    known."""
    releases = _releases().get(operator, [])
    return releases[version - 1] if 1 <= version <= len(releases) else None


def oldest_runtimes(operators: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """The oldest runtimes that have all of these operators (name, version).

    Returns:
        ``tensorflow_lite``: the oldest release, or None where one of the operators is in no known
        release; ``because``: the operators that ask for it, "NAME version N"; and by measured
        distribution its oldest version that has all, or None where none has.
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
    """A version of numbers as numbers, to be compared; () for anything else."""
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
    """By (distribution, version), the oldest first: the highest version of each operator."""
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
