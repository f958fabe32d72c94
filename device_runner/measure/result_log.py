"""Keep results on disk as JSON lines, appended so that finished ones survive what follows."""

from __future__ import annotations

import json
import mmap
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from device_runner import strict_json
from device_runner.errors import OptionError

try:
    import fcntl
except ImportError:  # not a POSIX system: one writer at a time is up to the user
    fcntl = None  # type: ignore[assignment]

# Every line of ours begins with this.
_START = b'{"result_format"'


class _Ending(NamedTuple):
    """Where the next line goes: at ``position`` in the file, after ``separator``."""

    position: int
    separator: bytes


def append_result(path: Path, result: Mapping[str, Any]) -> None:
    """Append one result as a line, whole or not at all, and sync it to the disk.

    Two processes may append to one file. A line that an earlier process did not finish, because it
    was killed or the disk was full, is cut off first.

    Raises:
        OptionError: the file holds something other than results; it is unchanged.
        OSError: the line could not be written; the file is unchanged.
    """
    line = json.dumps(result, allow_nan=False).encode() + b"\n"
    # A file can be appended to and truncated by its name, but not locked.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        ending = _find_ending(descriptor, path)
        line = ending.separator + line
        if ending.position < os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, ending.position)
        try:
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError as error:
            if ending.position < os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, ending.position)
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def check_appendable(path: Path) -> None:
    """Find out before the measurement whether ``path`` takes results.

    Raises:
        OptionError: the file holds something other than results.
        OSError: the file cannot be written.
    """
    with path.open("a+b") as file:
        _find_ending(file.fileno(), path)


def _find_ending(descriptor: int, path: Path) -> _Ending:
    """Find the end of the last result.

    After it there may be the start of a line that nobody finished. Anything else is not ours to cut
    off: OptionError.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return _Ending(0, b"")
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
        tail = content[end:]
        first = content[: content.find(b"\n") + 1]
        last = content[content.rfind(b"\n", 0, max(end - 1, 0)) + 1 : end]
    if not end or (_is_result(first) and _is_result(last)):
        if _is_result(tail):  # whole except for its line end, as an editor may leave it
            return _Ending(status.st_size, b"\n")
        if _is_unfinished(tail):
            return _Ending(end, b"")
    raise OptionError(
        f"{path} holds something other than results of bench, which bench never overwrites; "
        "name another file, or move this one away"
    )


def _is_result(line: bytes) -> bool:
    try:
        facts = strict_json.loads(line)
    except ValueError:
        return False
    return isinstance(facts, dict) and "result_format" in facts


def _is_unfinished(tail: bytes) -> bool:
    """Tell whether this can be the start of a line of ours; so can nothing at all."""
    return tail.startswith(_START) or _START.startswith(tail)
