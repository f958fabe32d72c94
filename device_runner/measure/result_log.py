"""Results on disk: JSON lines, appended so that finished results survive whatever comes after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not a POSIX system: one writer at a time is up to the user
    fcntl = None  # type: ignore[assignment]


def append_result(path: Path, result: dict[str, Any]) -> None:
    """Append one result as a line, whole or not at all, and have it on the disk.

    Two processes may append to one file. What an earlier process left of a line when it was
    killed, or when the disk was full, is cut off first.

    Raises:
        OSError: the line could not be written; the file is as before.
    """
    line = json.dumps(result, allow_nan=False).encode() + b"\n"
    # A file can be appended to and truncated, but not locked, through its name alone.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = _end_of_lines(descriptor)
        if end < os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        try:
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError as error:
            if end < os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, end)
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def check_appendable(path: Path) -> None:
    """Raise OSError now, and not after the measurement, where ``path`` cannot be appended to."""
    with path.open("ab"):
        pass


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    block = 4096
    while end > 0:
        start = max(0, end - block)
        os.lseek(descriptor, start, os.SEEK_SET)
        content = os.read(descriptor, end - start)
        newline = content.rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
