"""Stages on disk: each in a folder named by a hash of all it depends on, done once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError

try:
    import fcntl
except ImportError:  # not a POSIX system: one run at a time is up to the user
    fcntl = None  # type: ignore[assignment]

# The stages of a recipe, in order.
STAGES = (
    "train",
    "factorize",
    "prune",
    "cluster",
    "calibrate",
    "qat",
    "convert",
    "verify",
    "bench",
    "report",
)
KEY_LENGTH = 12
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder and the key that names it."""

    folder: Path
    key: str


class Workspace:
    """The folder ``runs/NAME`` of one recipe.

    Args:
        folder: where everything goes.
        again: names of stages to do again even if they are done.
        announce: called with (subject, stage name, whether it is computed now).
    """

    def __init__(
        self,
        folder: Path,
        again: Iterable[str] = (),
        announce: Callable[[str, str, bool], None] = lambda *_: None,
    ) -> None:
        self.folder = folder
        self.again = frozenset(again)
        self.announce = announce
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes' runs out; the operating system lets go when this one is killed.

        Raises:
            PipelineError: another run is at work in this folder.
        """
        with (self.folder / LOCK_FILE).open("ab") as file:
            if fcntl:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise PipelineError(
                        f"another 'edgestep run' is at work in {self.folder}; wait until it is "
                        "done, or name another folder with --runs-dir"
                    ) from error
            yield

    def stage(
        self,
        name: str,
        subject: str,
        depends_on: dict[str, Any],
        packages: tuple[str, ...],
        distributions: tuple[str, ...],
        build: Callable[[Path], None],
    ) -> Stage:
        """Do a stage unless it is done.

        Args:
            name: what is done ("train").
            subject: to what ("gru-64-s1").
            depends_on: settings, and keys of the stages it builds on; JSON-ready.
            packages: packages of ours whose source the result depends on.
            distributions: installed distributions whose version it depends on.
            build: writes the result into the folder it is given. After an interruption it gets
                the same folder again, with whatever it had left there to resume from.
        """
        facts = {
            "stage": name,
            "subject": subject,
            **depends_on,
            "sources": {package: source_digest(package) for package in packages},
            "versions": {item: installed_version(item) for item in distributions},
        }
        key = digest(facts)
        parent = self.folder / "stages" / subject
        final = parent / f"{name}-{key}"
        if name in self.again and final.exists():
            shutil.rmtree(final)
        fresh = not final.exists()
        self.announce(subject, name, fresh)
        if fresh:
            partial = parent / f"{name}-{key}.partial"
            partial.mkdir(parents=True, exist_ok=True)
            build(partial)
            (partial / "depends_on.json").write_text(json.dumps(facts, indent=1))
            os.replace(partial, final)
        return Stage(final, key)


def digest(facts: Any) -> str:
    """A short hash of JSON-ready facts."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@cache
def source_digest(package: str) -> str:
    """Hash of all Python sources of a package, found without importing it."""
    spec = importlib.util.find_spec(package)
    hasher = hashlib.sha256()
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(location).rglob("*.py")):
            hasher.update(file.relative_to(location).as_posix().encode())
            hasher.update(file.read_bytes())
    return hasher.hexdigest()[:KEY_LENGTH]


@cache
def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
