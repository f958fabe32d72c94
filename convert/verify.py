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

from convert.own_process import module_command
from device_runner.backends import PREFERRED
from device_runner.commands.verify import WAIT
from device_runner.errors import MissingRuntimeError

Verification = dict[str, Any]


def verify_on_runtimes(
    files: Sequence[Path], backends: Sequence[str] = PREFERRED
) -> list[Verification]:
    """Run the golden sequences of each file on each runtime that is installed.

    Returns:
        One object per file and installed runtime: ``file``, ``backend``, ``backend_version``,
        ``rms``, ``max_abs``, ``argmax_agreement`` and ``failure`` (None, or what is wrong: out of
        tolerance, refused by the runtime, or crashed).
    """
    with waiting_runtimes(backends) as runtimes:
        return runtimes.verify(files)


@contextlib.contextmanager
def waiting_runtimes(backends: Sequence[str] = PREFERRED) -> Iterator[Runtimes]:
    """Start the runtimes before there are files to verify.

    They import what they need meanwhile: TensorFlow takes seconds.
    """
    runtimes = Runtimes(backends)
    try:
        yield runtimes
    finally:
        runtimes.end()


class Runtimes:
    """Processes that wait for the names of files to verify, one a runtime."""

    def __init__(self, backends: Sequence[str]) -> None:
        self._processes = {backend: _process(backend, [WAIT]) for backend in backends}

    def verify(self, files: Sequence[Path]) -> list[Verification]:
        """Return what :func:`verify_on_runtimes` returns; can be called once."""
        for process in self._processes.values():
            _tell(process, files)
        verifications = []
        for backend, process in self._processes.items():
            answers, code = _answers(process)
            if code == MissingRuntimeError.exit_code:
                continue  # not installed here
            if len(answers) < len(files):  # crashed: find out on which file
                alone = (_answers(_process(backend, [str(file)]))[0] for file in files)
                answers = [found[0] if found else _CRASHED for found in alone]
            for file, answer in zip(files, answers, strict=True):
                verifications.append({"backend": backend, **answer, "file": file.name})
        return verifications

    def end(self) -> None:
        """End the processes that still wait."""
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                process.communicate()


_CRASHED = {"failure": "the runtime crashed"}


def _process(backend: str, files: Sequence[str]) -> subprocess.Popen[str]:
    """Start ``device_runner verify`` on these files; with WAIT, it waits for names."""
    command = [*module_command("device_runner"), "verify", "--json", "--backend", backend]
    return subprocess.Popen(
        [*command, *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _tell(process: subprocess.Popen[str], files: Sequence[Path]) -> None:
    """Hand a waiting process the names of the files."""
    names, process.stdin = process.stdin, None
    if names is None:
        return
    with contextlib.suppress(BrokenPipeError), names:  # it has ended: its exit code says why
        names.write("".join(f"{json.dumps(str(file))}\n" for file in files))


def _answers(process: subprocess.Popen[str]) -> tuple[list[Verification], int]:
    """Return what a process answers, and its exit code."""
    output, _ = process.communicate()
    return [json.loads(line) for line in output.splitlines()], process.returncode
