"""What a runtime's native code writes to standard output and error, past Python's own streams."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def captured(*descriptors: int) -> Iterator[Callable[[], str]]:
    """Keep what is written to these file descriptors of the process off the user's terminal.

    Args:
        descriptors: STDOUT, STDERR or both.

    Yields:
        A function that gives the text so far; it works while the context lasts.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in descriptors]
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            text = file.read().decode(errors="replace")
            file.seek(0, os.SEEK_END)
            return text

        try:
            for number, _ in kept:
                os.dup2(file.fileno(), number)
            yield read
        finally:
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
