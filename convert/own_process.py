"""Run modules of edgestep in processes of their own, whatever is in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# "python -m" would look into the working directory first: a user's own package there, called
# "convert" or "device_runner", would run instead of ours.
_RUN = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "sys.path[:] = [*filter(None, sys.path), root]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str) -> list[str]:
    """Return the command line that runs a module of edgestep, to be followed by its arguments.

    The process keeps the working directory, so that relative paths mean the same.

    Example:
        >>> module_command("device_runner")[-1]
        'device_runner'
    """
    return [sys.executable, "-c", _RUN, str(_ROOT), module]
