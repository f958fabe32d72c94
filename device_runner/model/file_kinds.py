"""Tell by its content what a file is that was handed to a command for another kind of file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

# Enough to tell every kind; an archive's list of members lies at its end.
HEAD_BYTES = 4096
LARGEST_LIST_BYTES = 64 * 1024 * 1024


class FileKind(NamedTuple):
    """A kind of file.

    Attributes:
        what: it is, in words, with an article.
        advice: what to do with it where another kind is wanted.
    """

    what: str
    advice: str


_CONVERT = "'edgestep convert' takes it"
LFS_POINTER = FileKind(
    "a Git LFS pointer, not the file itself", "fetch the file with 'git lfs pull'"
)
WEB_PAGE = FileKind("a web page (HTML)", "download the file itself, not the page that shows it")
EMPTY = FileKind("empty", "copy or save it again")
FOLDER = FileKind("a folder", "name a file in it")
TFLITE = FileKind(
    "a TFLite file", "'edgestep adopt' makes a step model of it, bench and inspect take it as it is"
)
KERAS = FileKind("a Keras model (.keras)", _CONVERT)
HDF5 = FileKind("an HDF5 file, as Keras writes (.h5)", _CONVERT)
ONNX = FileKind("an ONNX model", _CONVERT)
PYTORCH = FileKind("a PyTorch file (.pt)", _CONVERT)
SAFETENSORS = FileKind("a file of PyTorch weights (.safetensors)", _CONVERT)
PICKLE = FileKind(
    "a pickle, which could hold any code", "save the weights alone with safetensors, or as .npz"
)
ARRAY = FileKind("a NumPy array (.npy)", "it is data: name it with --data")
ARRAYS = FileKind("an archive of NumPy arrays (.npz)", "it is data: name it with --data")
PARQUET = FileKind("a Parquet table", "it is data: name it with --data")
TABLE = FileKind("a CSV table", "it is data: name it with --data")
ARCHIVE = FileKind("a ZIP archive", "unpack it and name a file in it")
TEXT = FileKind("a text file", "check the path")


def kind_of_file(path: str | Path) -> FileKind | None:
    """Tell what a file is; None if it cannot be read, or is of no kind that is known here."""
    path = Path(path)
    try:
        if path.is_dir():
            return FOLDER
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head.startswith(b"PK"):
                return kind_of_bytes(head, path.suffix)
            rest = file.read(LARGEST_LIST_BYTES)
    except OSError:
        return None
    return kind_of_bytes(head + rest, path.suffix)


def kind_of_bytes(data: bytes, ending: str = "") -> FileKind | None:
    """Tell what a file is by its bytes (of an archive all of them) and its name's ending.

    Example:
        >>> kind_of_bytes(b"version https://git-lfs.github.com/spec/v1").what
        'a Git LFS pointer, not the file itself'
        >>> kind_of_bytes(b"a,b" + bytes(9)) is None
        True
    """
    if not data:
        return EMPTY
    for begin, kind in (
        (b"version https://git-lfs", LFS_POINTER),
        (b"\x89HDF\r\n\x1a\n", HDF5),
        (b"\x93NUMPY", ARRAY),
        (b"PAR1", PARQUET),
    ):
        if data.startswith(begin):
            return kind
    if data[4:8] == b"TFL3":
        return TFLITE
    if data.startswith(b"PK"):
        return _archive(data)
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 2**32:
        return SAFETENSORS
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PYTORCH if ending in (".pt", ".pth", ".ckpt") else PICKLE
    # An ONNX file begins with the version of its format, a small number, as its field 1.
    if data[:1] == b"\x08" and data[1:2] < b"\x40" and data[2:3] in (b"\x12", b"\x3a", b"\x42"):
        return ONNX
    return _text(data[:HEAD_BYTES], ending)


def _archive(data: bytes) -> FileKind | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    # zipfile raises many types for damaged archives.
    except Exception:
        return None
    if "config.json" in names:
        return KERAS
    if any(name.endswith("data.pkl") for name in names):
        return PYTORCH
    if names and all(name.endswith(".npy") for name in names):
        return ARRAYS
    return ARCHIVE


def _text(head: bytes, ending: str) -> FileKind | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a character that the head cuts in two
            return None
        text = head[: error.start].decode()
    if not all(c.isprintable() or c in "\r\n\t" for c in text):
        return None
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return WEB_PAGE
    return TABLE if ending.lower() == ".csv" else TEXT


def other_kind(path: str | Path, wanted: str, kind: FileKind) -> str:
    """Word the message on a file that is of another kind than wanted.

    Example:
        >>> other_kind("x.h5", "a TFLite file", EMPTY)
        'x.h5 is empty, not a TFLite file; copy or save it again'
    """
    other = "" if kind in (LFS_POINTER, WEB_PAGE) else f", not {wanted}"
    return f"{path} is {kind.what}{other}; {kind.advice}"
