"""The list of what a finished stage left: each file's size and SHA-256, written last.

A folder without it is unfinished. A file that does not fit it was damaged afterwards: by a power
loss, a full disk, a bad copy or an editor.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST_FILE = "manifest.json"
# Files are hashed in pieces of this size.
PIECE_BYTES = 1 << 20


def write_manifest(folder: Path) -> None:
    """List all files of a folder, and wait until they and the list are on the disk."""
    files = {path.relative_to(folder).as_posix(): _facts(path) for path in _files(folder)}
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({"files": files}, indent=1))
    for written in _files(folder):
        _sync(written)
    _sync(path)
    for inner in (folder, *(one for one in folder.rglob("*") if one.is_dir())):
        sync_folder(inner)


def damage(folder: Path) -> str | None:
    """Compare a finished stage's files with its manifest.

    Returns:
        What does not fit, in words; None if all is as it was written.
    """
    try:
        listed = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
        wanted = {
            str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in listed.items()
        }
    except FileNotFoundError:
        return f"{MANIFEST_FILE} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{MANIFEST_FILE} is damaged"
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name, (size, sha256) in wanted.items():
        if name not in there:
            return f"{name} is missing"
        try:
            facts = _facts(there[name])
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if facts["bytes"] != size:
            return f"{name} has {facts['bytes']:,} bytes instead of {size:,}"
        if facts["sha256"] != sha256:
            return f"{name} is not what was written"
    return None


def sync_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk, where the system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST_FILE:
            yield path


def _facts(path: Path) -> dict[str, Any]:
    checksum = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            checksum.update(piece)
            size += len(piece)
    return {"bytes": size, "sha256": checksum.hexdigest()}


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
