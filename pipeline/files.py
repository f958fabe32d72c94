"""Small files that stages leave: JSON, JSON lines, and copies where users look for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device_runner.atomic_write import write_atomically


def write_json(path: Path, facts: Any) -> None:
    """Write ``facts`` as JSON that people can read too."""
    path.write_text(json.dumps(facts, indent=1))


def write_json_lines(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Write one object per line."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_json_lines` wrote."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def place(source: Path, target: Path) -> None:
    """Copy a stage's product to where users look for it, unless it already has the same bytes."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_atomically(target, content)


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file's bytes, by its name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
