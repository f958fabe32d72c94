"""Small files that stages leave: JSON, JSON lines, and copies where users look for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device_runner import strict_json
from device_runner.atomic_write import write_atomically
from device_runner.errors import one_line
from pipeline.errors import PipelineError

_ANEW = "remove it, and run what made it again"


def write_json(path: Path, facts: Any) -> None:
    """Write ``facts`` as JSON that people can read too."""
    path.write_text(json.dumps(facts, indent=1))


def write_json_lines(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Write one object per line."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_json_lines` wrote.

    Raises:
        PipelineError: the file cannot be read, or a line is not a whole object.
    """
    return [
        _object(line, f"{path}: line {number}")
        for number, line in enumerate(_text(path).splitlines(), 1)
        if line
    ]


def read_json(path: Path) -> dict[str, Any]:
    """Read an object that :func:`write_json` wrote; errors as :func:`read_json_lines`."""
    return _object(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)}); {_ANEW}") from error


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = strict_json.loads(text)
    except ValueError as error:
        raise PipelineError(f"{place} is damaged ({one_line(error)}); {_ANEW}") from error
    if not isinstance(found, dict):
        raise PipelineError(f"{place} is damaged (it holds no object); {_ANEW}")
    return found


def place(source: Path, target: Path) -> None:
    """Copy a stage's product to where users look for it, unless it already has the same bytes."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_atomically(target, content)


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file's bytes, by its name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
