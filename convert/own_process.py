"""Run modules of edgestep in processes of their own, whatever is in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# "python -m" and "python -c" look into the working directory first: a user's own package there,
# called "convert" or "device_runner", or his json.py, would be imported instead of ours and
# Python's. So nothing is imported before it is taken from the path.
_BEGIN = "import sys; root = sys.argv.pop(1); sys.path[:] = [*filter(None, sys.path), root]\n"
_RUN = (
    "module = sys.argv.pop(1); import runpy; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str) -> list[str]:
    """Return the command line that runs a module of edgestep, to be followed by its arguments.

    The process keeps the working directory, so that relative paths mean the same.

    Example:
        >>> module_command("device_runner")[-1]
        'device_runner'
    """
    return [*code_command(_RUN), module]


def code_command(code: str) -> list[str]:
    """Return the command line that runs code, which imports edgestep's modules, and its arguments.

    ``code`` has ``sys`` imported.
    """
    return [sys.executable, "-c", _BEGIN + code, str(_ROOT)]
