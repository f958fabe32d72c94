"""Modules of edgestep run in processes of their own, whatever lies in the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# As "python -m", which would look into the working directory first: a user's own package there,
# called "convert" or "device_runner", would be run for ours.
_RUN = (
    "import runpy, sys; root, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "sys.path[:] = [*filter(None, sys.path), root]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str) -> list[str]:
    """The beginning of a command line that runs a module of edgestep; its arguments follow.

    The process keeps the working directory, so that relative paths mean the same.

    Example:
        >>> module_command("device_runner")[-1]
        'device_runner'
    """
    return [sys.executable, "-c", _RUN, str(_ROOT), module]
