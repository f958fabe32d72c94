"""Write files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file so that it is either whole or not there; a failed write leaves no trace.

    Args:
        path: path of the file; a missing folder is made.
        data: all of the file's bytes.
        mode: permissions; None for the usual ones of a new file.

    Raises:
        OSError: the file cannot be written; what was at ``path`` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            # Without this, a power loss may leave the new name with no content.
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
