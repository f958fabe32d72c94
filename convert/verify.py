"""Verify step models on every installed runtime, each in a process of its own.

Two TFLite runtimes in one process share symbols and can crash each other.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from convert.forked_process import ForkedProcess, may_fork
from convert.own_process import module_command
from device_runner.backends import VERIFYING, tensorflow
from device_runner.commands.verify import WAIT
from device_runner.errors import MissingRuntimeError

Verification = dict[str, Any]


def verify_on_runtimes(
    files: Sequence[Path], backends: Sequence[str] = VERIFYING
) -> list[Verification]:
    """Run the golden sequences of each file on each runtime that is installed.

    Returns:
        One object per file and installed runtime: ``file``, ``backend``, ``backend_version``,
        ``rms``, ``max_abs``, ``argmax_agreement`` and ``failure`` (None, or what is wrong: out of
        tolerance, refused by the runtime, or crashed). Of a file that libedgestep does not know
        everything of there is no failure, but ``unsupported`` says why: other runtimes step it.
    """
    with waiting_runtimes(backends) as runtimes:
        runtimes.start()
        return runtimes.verify(files)


@contextlib.contextmanager
def waiting_runtimes(backends: Sequence[str] = VERIFYING) -> Iterator[Runtimes]:
    """Hold the runtimes' processes while there are no files to verify yet.

    Those that :meth:`Runtimes.start` starts import what they need meanwhile. TensorFlow, which
    takes seconds to import, is not imported again if it is here and has computed nothing yet.
    """
    runtimes = Runtimes(backends)
    try:
        yield runtimes
    finally:
        runtimes.end()


class Runtimes:
    """Processes that wait for the names of files to verify, one a runtime."""

    def __init__(self, backends: Sequence[str]) -> None:
        self._backends = backends
        self._processes: dict[str, _Process] = {}
        if tensorflow.NAME in backends and may_fork():
            self._processes[tensorflow.NAME] = ForkedProcess(_arguments(tensorflow.NAME, [WAIT]))

    def start(self) -> None:
        """Start the processes, if they are not yet."""
        for backend in self._backends:
            if backend not in self._processes:
                self._processes[backend] = _process(backend, [WAIT])

    def verify(self, files: Sequence[Path]) -> list[Verification]:
        """Return what :func:`verify_on_runtimes` returns; can be called once."""
        self.start()
        for process in self._processes.values():
            _tell(process, files)
        verifications = []
        for backend in self._backends:
            process = self._processes[backend]
            answers, code = _answers(process)
            if code == MissingRuntimeError.exit_code:
                continue  # not installed here
            if len(answers) < len(files):  # crashed: find out on which file
                alone = (_answers(_process(backend, [str(file)]))[0] for file in files)
                answers = [found[0] if found else _CRASHED for found in alone]
            for file, answer in zip(files, answers, strict=True):
                if "unsupported" in answer:
                    answer = {**answer, "failure": None}
                verifications.append({"backend": backend, **answer, "file": file.name})
        return verifications

    def end(self) -> None:
        """End the processes that still wait."""
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                process.communicate()


def passed(verifications: Sequence[Verification]) -> list[str]:
    """Return the runtimes that stepped the file and computed what they should."""
    return [
        one["backend"] for one in verifications if not one["failure"] and "unsupported" not in one
    ]


def objections(verifications: Sequence[Verification]) -> list[str]:
    """Say for each other runtime why it is not among them."""
    lines = [f"{one['backend']}: {one['failure']}" for one in verifications if one["failure"]]
    return lines + [
        f"{one['backend']}, which does not take this file: {one['unsupported']}"
        for one in verifications
        if "unsupported" in one
    ]


_CRASHED = {"failure": "the runtime crashed"}


#: What verifies: a program of its own, or a fork.
_Process = subprocess.Popen[str] | ForkedProcess


def _process(backend: str, files: Sequence[str]) -> subprocess.Popen[str]:
    """Start ``device_runner verify`` on these files; with WAIT, it waits for names."""
    return subprocess.Popen(
        [*module_command("device_runner"), *_arguments(backend, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _arguments(backend: str, files: Sequence[str]) -> list[str]:
    return ["verify", "--json", "--backend", backend, *files]


def _tell(process: _Process, files: Sequence[Path]) -> None:
    """Hand a waiting process the names of the files."""
    names, process.stdin = process.stdin, None
    if names is None:
        return
    with contextlib.suppress(BrokenPipeError), names:  # it has ended: its exit code says why
        names.write("".join(f"{json.dumps(str(file))}\n" for file in files))


def _answers(process: _Process) -> tuple[list[Verification], int]:
    """Return what a process answers, and its exit code."""
    output, _ = process.communicate()
    return [json.loads(line) for line in output.splitlines()], process.wait()
