"""Modules in the working directory that have the names of ours, of Python's or of NumPy's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convert.own_process import code_command, module_command
from device_runner import doctor

NAMES = ("numpy", "click", "json", "runpy", "device_runner", "convert", "pipeline")


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    """A working directory where each of these names ends the process that imports it."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the user\\'s {name}')\n")
    monkeypatch.chdir(tmp_path)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    return tmp_path


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_of_ours(foreign):
    assert "bench" in run(*module_command("device_runner"), "--help")
    code = "import json, numpy, device_runner; print(json.dumps([*map(str, sys.argv[1:])]))"
    assert json.loads(run(*code_command(code), "a", "b")) == ["a", "b"]


def test_the_doctor_probes_with_our_modules(foreign):
    assert doctor.diagnose("reference").usable


def test_the_command_as_a_module(foreign):
    # "python -m" itself imports runpy before a line of ours runs.
    os.remove("runpy.py")
    assert "edgestep" in run(sys.executable, "-m", "edgestep", "--version")
