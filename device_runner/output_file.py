"""Files that a command is about to replace: ours, or somebody else's."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
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
    SAMPLES = "array of nanoseconds of 'edgestep bench --samples'"
    TECHNIQUES = "table of 'edgestep techniques'"
    ROBUSTNESS = "page of 'edgestep robustness'"
    SALIENCY = "page of 'edgestep saliency'"
    WEB_PAGE = "page of 'edgestep export-web'"


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


def check_not_source(path: Path, source: Path) -> None:
    """Find out whether a command would write over the file that it reads.

    Raises:
        OptionError: it would.
    """
    if path.exists() and source.exists() and path.samefile(source):
        raise OptionError(f"{path} is the file to read; name another file with --output")


def check_samples(folder: Path, files: Sequence[str | Path], force: bool) -> None:
    """Find out whether every model's samples have a file of their own in a folder.

    Args:
        files: the models that are measured.

    Raises:
        OptionError: two models would share a file, or something else is there.
    """
    models: dict[Path, str | Path] = {}
    for file in files:
        path = samples_file(folder, file)
        if path in models:
            raise OptionError(
                f"the samples of {models[path]} and {file} would both go to {path}; measure them "
                "one after the other, or rename one"
            )
        models[path] = file
        check_replaceable(path, OutputKind.SAMPLES, force)


def samples_file(folder: Path, file: str | Path) -> Path:
    """Return the file of a model's samples in a folder."""
    return folder / Path(Path(file).name).with_suffix(".npy")


def _is_of_kind(path: Path, kind: OutputKind) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if kind is OutputKind.STEP_MODEL:
        return head[4:8] == b"TFL3" and CONTRACT_FILE in _members(path)
    if kind is OutputKind.PROGRAM:
        return head.startswith(b"#!") and "__main__.py" in _members(path)
    if kind is OutputKind.ONNX:
        # The first field of every exporter's file is the version of the format, a small number.
        return path.suffix.lower() == ".onnx" and head[:1] == b"\x08" and head[1:2] < b"\x80"
    marks = {
        OutputKind.C_SOURCE: b"Written by 'edgestep export-c'",
        OutputKind.TECHNIQUES: b"edgestep techniques",
        # Nanoseconds: a vector of whole numbers, which frames and labels of others seldom are.
        OutputKind.SAMPLES: b"'descr': '<i8'",
        OutputKind.DRAWING: b"digraph step {",
        OutputKind.ROBUSTNESS: b"<title>edgestep: robustness</title>",
        OutputKind.SALIENCY: b"<title>edgestep: saliency</title>",
        OutputKind.WEB_PAGE: b"<!-- Written by 'edgestep export-web' -->",
    }
    return marks[kind] in head


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    # zipfile raises many types for damaged archives.
    except Exception:
        return []
