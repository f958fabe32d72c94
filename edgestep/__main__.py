"""The ``edgestep`` command, also as ``python -m edgestep``."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("models", "calibration", "convert", "device_runner", "pipeline")


def main() -> None:
    """Run the command with edgestep's own packages, whatever is in the working directory."""
    _leave_working_directory()
    _import_own_packages()
    from device_runner.keras_imports import leave_out_extras
    from pipeline.cli import main as command

    leave_out_extras()
    command(prog_name="edgestep")


def _leave_working_directory() -> None:
    """Remove the working directory from the import path, where ``python -m`` puts it."""
    if sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd() != _ROOT:
        del sys.path[0]


def _import_own_packages() -> None:
    """Import the packages beside this one: PYTHONPATH may lead to others of the same names."""
    for name in _PACKAGES:
        spec = PathFinder.find_spec(name, [str(_ROOT)])
        if spec is None or spec.loader is None:
            raise ImportError(f"edgestep is not whole: {_ROOT / name} is missing; install it again")
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])


if __name__ == "__main__":
    main()
