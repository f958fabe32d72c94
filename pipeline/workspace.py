"""Keep stages on disk, each done once, in a folder named by a hash of all it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.manifest import damage, sync_folder, write_manifest
from pipeline.source_trace import Sources

try:
    import fcntl
except ImportError:  # not a POSIX system: one run at a time is up to the user
    fcntl = None  # type: ignore[assignment]

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
        warn: called with one line of text about a result that is made again.
    """

    def __init__(
        self,
        folder: Path,
        again: Iterable[str] = (),
        announce: Callable[[str, str, bool], None] = lambda *_: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.again = frozenset(again)
        self.announce = announce
        self.warn = warn
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes' runs out; the operating system releases it if this one is killed.

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
        settings: dict[str, Any],
        sources: Sources,
        build: Callable[[Path], None],
    ) -> Stage:
        """Do a stage unless it is done and its files are as they were written.

        Args:
            name: what the stage does ("train").
            subject: what it is done to ("gru-64-s1").
            settings: what the result depends on besides code: settings, and keys of the stages it
                builds on; JSON-ready.
            sources: the code that the result depends on.
            build: writes the result into the folder it is given. After an interruption it gets the
                same folder again, with whatever it left there to resume from.
        """
        facts = {
            "stage": name,
            "subject": subject,
            **settings,
            "sources": sources.modules,
            "versions": sources.versions,
        }
        key = digest(facts)
        final = self.folder / "stages" / subject / f"{name}-{key}"
        with self.only_builder(final):
            return self._done(name, subject, facts, final, build)

    @contextmanager
    def only_builder(self, final: Path) -> Iterator[None]:
        """Keep others from the stage in ``final``; here :meth:`locked` has done so."""
        yield

    def _done(
        self,
        name: str,
        subject: str,
        facts: dict[str, Any],
        final: Path,
        build: Callable[[Path], None],
    ) -> Stage:
        """Return a stage, built unless it is there whole."""
        parent, key = final.parent, digest(facts)
        if final.exists():
            what = damage(final)
            if what:
                self.warn(f"{final}: {what}; it is made again")
            if what or name in self.again:
                shutil.rmtree(final)
        fresh = not final.exists()
        self.announce(subject, name, fresh)
        if fresh:
            partial = parent / f"{name}-{key}.partial"
            partial.mkdir(parents=True, exist_ok=True)
            build(partial)
            (partial / "depends_on.json").write_text(json.dumps(facts, indent=1))
            write_manifest(partial)
            os.replace(partial, final)
            sync_folder(parent)
        return Stage(final, key)


class SharedWorkspace(Workspace):
    """A workspace that several processes work in at once: a stage is built by one of them, and the
    others wait for it."""

    @contextmanager
    def only_builder(self, final: Path) -> Iterator[None]:
        final.parent.mkdir(parents=True, exist_ok=True)
        with final.with_name(f".{final.name}.lock").open("ab") as file:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def digest(facts: Any) -> str:
    """Return a short hash of JSON-ready facts."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
