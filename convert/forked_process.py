"""Run the on-device commands in a fork of this process, which has TensorFlow imported already.

TensorFlow takes seconds to import, and a conversion has it before it verifies. It survives a fork
as long as it has computed nothing: until then it has no threads of its own.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Sequence
from typing import IO, NoReturn


def may_fork() -> bool:
    """Tell whether TensorFlow is imported here, and has computed nothing yet."""
    context = sys.modules.get("tensorflow.python.eager.context")
    if context is None or sys.platform != "linux" or threading.active_count() > 1:
        return False
    try:
        return context.context()._context_handle is None
    except AttributeError:  # another version: nothing is known of it
        return False


class ForkedProcess:
    """A fork that runs ``device_runner`` with arguments, as far as ``subprocess.Popen`` is needed.

    Attributes:
        stdin: what the fork reads; None once it is taken over by the caller.
        returncode: its exit code; None while it runs.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        reads, writes = os.pipe(), os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(arguments, reads[0], writes[1])
        os.close(reads[0])
        os.close(writes[1])
        self.stdin: IO[str] | None = open(reads[1], "w")  # noqa: SIM115  # communicate() closes it
        self._stdout = open(writes[0])  # noqa: SIM115
        self.returncode: int | None = None

    def communicate(self) -> tuple[str, None]:
        """Return what it wrote until its end."""
        if self.stdin is not None:
            self.stdin.close()
        with self._stdout:
            text = self._stdout.read()
        self.wait()
        return text, None

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        """End it, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, 9)


def _run(arguments: Sequence[str], reads: int, writes: int) -> NoReturn:
    """Run the commands in the fork, and end it."""
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        for source, target in ((reads, 0), (writes, 1), (silence, 2)):
            os.dup2(source, target)
        # The parent's pipes, and what else it has open, are not the fork's.
        os.closerange(3, 1024)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(open(number, mode, closefd=False))  # noqa: SIM115
            for number, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
        )
        sys.__stdout__ = sys.stdout  # type: ignore[misc]
        from device_runner.cli import main

        try:
            main(list(arguments), prog_name="device_runner")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
    finally:
        os._exit(code)
