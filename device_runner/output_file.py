"""Files that a command is about to replace: ours, or somebody else's."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from device_runner.errors import OptionError
from device_runner.model.contract import CONTRACT_FILE

# What kinds are told by; the head of a generated C file is a comment.
HEAD_BYTES = 4096


class OutputKind(Enum):
    """What a command writes, in words."""

    STEP_MODEL = "step model"
    ONNX = "ONNX model"
    PROGRAM = "Python program in one file"
    C_SOURCE = "C file of 'edgestep export-c'"
    DRAWING = "drawing in DOT"
    SAMPLES = "NumPy array"
    TECHNIQUES = "table of 'edgestep techniques'"


def check_replaceable(path: Path, kind: OutputKind, force: bool) -> None:
    """Find out whether a command may write a file, before it begins to work.

    Args:
        path: the file to write.
        kind: what will be in it. A file of this kind that is there already is replaced.
        force: whether the user said that any file may be replaced.

    Raises:
        OptionError: another kind of file is there.
    """
    if force or not path.is_file() or path.stat().st_size == 0 or _is_of_kind(path, kind):
        return
    article = "an" if kind.value[0] in "aeiouO" else "a"
    raise OptionError(
        f"{path} is there and is not {article} {kind.value}; name another file with --output, or "
        "say --force to replace it"
    )


def _is_of_kind(path: Path, kind: OutputKind) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if kind is OutputKind.STEP_MODEL:
        return head[4:8] == b"TFL3" and CONTRACT_FILE in _members(path)
    if kind is OutputKind.PROGRAM:
        return head.startswith(b"#!") and "__main__.py" in _members(path)
    if kind is OutputKind.ONNX:
        # The first field of every exporter's file is the version of the format, a small number.
        return path.suffix.lower() == ".onnx" and head[:1] == b"\x08" and head[1] < 128
    marks = {
        OutputKind.C_SOURCE: b"Written by 'edgestep export-c'",
        OutputKind.TECHNIQUES: b"edgestep techniques",
    }
    if kind in marks:
        return marks[kind] in head
    return head.startswith(b"digraph" if kind is OutputKind.DRAWING else b"\x93NUMPY")


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    # zipfile raises many types for damaged archives.
    except Exception:
        return []
