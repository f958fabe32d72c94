"""Verify step models on every installed runtime, each in a process of its own.

Two TFLite runtimes in one process share symbols and can crash each other.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convert.own_process import module_command
from device_runner.backends import PREFERRED
from device_runner.errors import MissingRuntimeError


def verify_on_runtimes(
    files: Sequence[Path], backends: Sequence[str] = PREFERRED
) -> list[dict[str, Any]]:
    """Run the golden sequences of each file on each runtime that is installed.

    Returns:
        One object per file and installed runtime: ``file``, ``backend``, ``backend_version``,
        ``rms``, ``max_abs``, ``argmax_agreement`` and ``failure`` (None, or what is wrong: out of
        tolerance, refused by the runtime, or crashed).
    """
    verifications = []
    for backend in backends:
        answers, code = _verify(backend, files)
        if code == MissingRuntimeError.exit_code:
            continue  # not installed here
        if len(answers) < len(files):  # crashed: find out on which file
            alone = (_verify(backend, [file])[0] for file in files)
            answers = [found[0] if found else {"failure": "the runtime crashed"} for found in alone]
        for file, answer in zip(files, answers, strict=True):
            verifications.append({"backend": backend, **answer, "file": file.name})
    return verifications


def _verify(backend: str, files: Sequence[Path]) -> tuple[list[dict[str, Any]], int]:
    """Return what ``device_runner verify`` answers on these files, and its exit code."""
    command = [*module_command("device_runner"), "verify", "--json", "--backend", backend]
    process = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in process.stdout.splitlines()], process.returncode
