"""The on-device program as one file: equal from equal sources, and it runs on its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from click.testing import CliRunner

from pipeline.bundle import write_bundle
from pipeline.cli import main


def run(program, *arguments, cwd):
    """Run the program in a Python that sees none of our folders."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(program), *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip


def test_equal_sources_are_equal_bytes(tmp_path):
    first, second = (write_bundle(tmp_path / name).read_bytes() for name in ("a.pyz", "b.pyz"))
    assert first == second


def test_it_verifies_and_measures_a_model(step_models, tmp_path):
    program = tmp_path / "device.pyz"
    assert CliRunner().invoke(main, ["device", "bundle", "--output", str(program)]).exit_code == 0
    model = step_models("gru", "int8")
    verified = run(program, "verify", model, "--json", cwd=tmp_path)
    assert json.loads(verified.stdout)["failure"] is None
    measured = run(program, "bench", model, "--steps", 100, "--json", cwd=tmp_path)
    assert json.loads(measured.stdout)["latency_ns"]["step"]["samples"] >= 100


def test_its_code_comes_from_the_file_and_needs_no_tensorflow(tmp_path):
    program = write_bundle(tmp_path / "device.pyz")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import device_runner.commands.bench as cli; "
        "print(cli.__file__); print([m for m in sys.modules if m.startswith('tensorflow')])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, str(program)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    place, modules = shown.stdout.splitlines()
    assert place.startswith(str(program))
    assert modules == "[]"
