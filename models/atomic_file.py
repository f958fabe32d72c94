"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file to write to.

    It replaces ``path`` when the block ends, and is removed if the block raises. A missing folder
    is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named by the process: two of them may fetch or write the same file at once.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            # Without this, a power loss may leave the new name with no content.
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
