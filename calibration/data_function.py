"""Get sequences from a user's function.

The function runs in a process of its own, whose imports look into the working directory first.
There, a package ``models`` or ``convert`` is the user's; here it is edgestep's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from calibration import data_function_process as process
from calibration.errors import CalibrationError


def call_data_function(source: str) -> list[Any]:
    """Call ``module:function`` in a child process and return its sequences.

    Args:
        source: a module that can be imported from the working directory, and a function of it
            that takes no arguments.

    Returns:
        The sequences, each an array or a dict of arrays by input.

    Raises:
        CalibrationError: there is no such function, or it raises, exits, crashes, or returns
            anything but arrays of numbers.
    """
    with tempfile.TemporaryDirectory(prefix="edgestep-data-") as name:
        folder = Path(name)
        done = subprocess.run([sys.executable, process.__file__, source, name], check=False)
        if done.returncode == process.INTERRUPTED_EXIT_CODE:
            raise KeyboardInterrupt
        failure = folder / process.FAILURE_FILE
        reason = failure.read_text(encoding="utf-8") if failure.exists() else ""
        if done.returncode or not (folder / process.SEQUENCES_FILE).exists():
            reason = reason or f"it ended the process with exit code {done.returncode}"
            raise CalibrationError(
                f"{source}: the function gave no sequences ({reason}); "
                "it takes no arguments and gives a list of arrays"
            )
        return _read(folder)


def _read(folder: Path) -> list[Any]:
    """Read what the child process wrote."""
    sequences: list[Any] = []
    for files in json.loads((folder / process.SEQUENCES_FILE).read_text()):
        arrays = {
            name: np.load(folder / f"{number}.npy", allow_pickle=False) for name, number in files
        }
        sequences.append(arrays.get(process.FIRST_INPUT, arrays))
    return sequences
