"""Capture what a runtime's native code writes to standard output and error, past Python."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def captured(*descriptors: int) -> Iterator[Callable[[], str]]:
    """Keep what is written to the process's file descriptors off the user's terminal.

    Args:
        descriptors: STDOUT, STDERR or both.

    Yields:
        A function that returns the text so far; it works while the context lasts.
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
