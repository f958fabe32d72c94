"""Call a user's data function in a process of its own, and write its result into files.

It runs as a file: ``python data_function_process.py MODULE:FUNCTION FOLDER``. It imports nothing of
ours, so the function imports the user's own ``models`` or ``convert``. FOLDER gets an ``.npy`` file
for each array and ``sequences.json``, or ``failure.txt`` with one line. Nothing is pickled.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import numpy as np

SEQUENCES_FILE, FAILURE_FILE = "sequences.json", "failure.txt"
INTERRUPTED_EXIT_CODE = 130
# The name of the array if a sequence is not a dict: the model's first input.
FIRST_INPUT = None
# The import packages of edgestep. A folder of one of these names in the working directory wins
# over them even where it has no __init__.py, which Python itself would take last.
_OWN_NAMES = ("edgestep", "models", "calibration", "convert", "device_runner", "pipeline")


class _WorkingDirectoryFirst:
    """Finds a user's package that has the same name as one of edgestep's."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if path is not None or name not in _OWN_NAMES:
            return None
        spec = PathFinder.find_spec(name, [self.folder])
        if spec is not None and spec.loader is None:  # a folder without an __init__.py
            holds_code = any(Path(self.folder, name).rglob("*.py"))
            return spec if holds_code else None
        return spec


def _use_working_directory() -> None:
    """Let imports look into the working directory first, not into this file's folder."""
    here = os.getcwd()
    if sys.path and Path(sys.path[0] or here).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]
    sys.path.insert(0, here)
    sys.meta_path.insert(0, _WorkingDirectoryFirst(here))


def _lift_memory_limit() -> None:
    """Give the user's own function what the machine allows, whatever limits its caller."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    except (ImportError, OSError, ValueError):  # not on every system
        return


def _arrays(sequence: Any) -> dict[str | None, Any]:
    named = sequence if isinstance(sequence, Mapping) else {FIRST_INPUT: sequence}
    for values in named.values():
        # An array that is made of a list of masked ones has lost what was left out.
        parts = values if isinstance(values, list | tuple) else (values,)
        if any(np.ma.is_masked(part) for part in parts):  # type: ignore[no-untyped-call]
            raise ValueError(
                "a sequence is a masked array with values left out; cut it there, or fill them in"
            )
    return {
        name if name is FIRST_INPUT else str(name): np.asarray(values)
        for name, values in named.items()
    }


def _write(sequences: list[Any], folder: Path) -> None:
    """Write sequences, each an array or a dict of arrays by input.

    Raises:
        ValueError: an array does not hold numbers.
    """
    written, count = [], 0
    for sequence in sequences:
        files = []
        for name, array in _arrays(sequence).items():
            if array.dtype.kind not in "fiub":
                raise ValueError(f"a sequence holds {array.dtype} values, not numbers")
            np.save(folder / f"{count}.npy", array, allow_pickle=False)
            files.append((name, count))
            count += 1
        written.append(files)
    (folder / SEQUENCES_FILE).write_text(json.dumps(written))


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main(source: str, folder: Path) -> int:
    """Call MODULE:FUNCTION and write its result; return the exit code."""
    module, _, function = source.partition(":")
    _lift_memory_limit()
    try:
        _use_working_directory()
        _write(list(getattr(importlib.import_module(module), function)()), folder)
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE
    # The user's function may raise anything, SystemExit included.
    except BaseException as error:
        (folder / FAILURE_FILE).write_text(_one_line(error), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
