"""Step models on every runtime that is installed here, each runtime in a process of its own.

Two TFLite runtimes in one process share symbols and can crash each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_runner.backends import BACKENDS
from device_runner.errors import MissingRuntimeError


def verify_on_runtimes(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Run the golden sequences of each file on each runtime.

    Returns:
        One object per file and installed runtime: ``file``, ``backend``, ``backend_version``,
        ``rms``, ``max_abs``, ``argmax_agreement`` and ``failure`` (None, or what is wrong: out of
        tolerance, refused by the runtime, or crashed).
    """
    found = []
    for backend in BACKENDS:
        for file in files:
            command = [sys.executable, "-m", "device_runner", "verify", "--json", "--backend"]
            process = subprocess.run(
                [*command, backend, str(file)], capture_output=True, text=True, check=False
            )
            if process.returncode == MissingRuntimeError.exit_code:
                break  # not installed here
            if process.stdout.strip():
                facts = json.loads(process.stdout.splitlines()[-1])
            else:
                message = process.stderr.strip().splitlines()
                facts = {
                    "backend": backend,
                    "failure": message[-1] if message else f"exit code {process.returncode}",
                }
            found.append({**facts, "file": file.name})
    return found
