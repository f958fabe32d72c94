"""The package alone: without the rest of edgestep, without TensorFlow, on another runtime."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import device_runner
from device_runner.model.step_file import load_step_model

PACKAGE = Path(device_runner.__file__).parent
NOT_ON_A_DEVICE = (
    "tensorflow", "tf_keras", "keras", "rich", "pydantic", "scipy", "matplotlib", "jinja2",
    "models", "calibration", "convert", "pipeline",
)  # fmt: skip
# Runs "python -m device_runner ..." where importing any of these packages fails.
BARE_DEVICE = f"""
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_ON_A_DEVICE!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} on this device", name=name)

sys.meta_path.insert(0, Missing())
sys.argv[0] = "device_runner"
runpy.run_module("device_runner", run_name="__main__", alter_sys=True)
"""
COPY = "This is the copy."
MISSING_RUNTIME = 4
SHORT = ("--steps", 100, "--rounds", 1, "--warmup", 0)


@pytest.fixture
def bare_device(run_python):
    return lambda *arguments: run_python("-c", BARE_DEVICE, *arguments, cwd=PACKAGE.parent)


@pytest.fixture
def copied_package(tmp_path) -> Path:
    """A folder that holds a copy of device_runner, which tells of itself, and nothing else."""
    ignored = shutil.ignore_patterns("__pycache__")
    copy = tmp_path / "device" / "device_runner"
    shutil.copytree(PACKAGE, copy, ignore=ignored)
    with (copy / "__init__.py").open("a") as module:
        module.write(f"\nimport sys\nprint({COPY!r}, file=sys.stderr)\n")
    return copy.parent


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("inspect",), "accuracy"),
        (("verify", "--backend", "litert"), "ok"),
        (("bench", "--backend", "litert", *SHORT), "Microseconds"),
        (("bench", *SHORT), "of one step on "),
    ],
)
def test_commands_work_on_a_bare_device(arguments, part, int8_file, bare_device):
    command, *options = arguments
    process = bare_device(command, int8_file, *options)
    assert process.returncode == 0, process.stderr
    assert part in process.stdout


def test_tensorflow_is_missing_on_a_bare_device(int8_file, bare_device):
    """The other tests here prove something only while the packages really are missing."""
    process = bare_device("verify", int8_file, "--backend", "tensorflow")
    assert process.returncode == MISSING_RUNTIME
    assert "No module named 'tensorflow' on this device" in process.stderr


def test_nothing_but_numpy_and_click_is_imported(run_python, copied_package):
    """Loading the commands takes the standard library, NumPy and click; a runtime comes later."""
    listing = (
        "import sys; before = set(sys.modules); import click; "
        "from device_runner.cli import main; context = click.Context(main); "
        "[main.get_command(context, name) for name in main.list_commands(context)]; "
        "found = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(found - set(sys.stdlib_module_names)))"
    )
    process = run_python("-c", listing, cwd=copied_package)
    assert process.returncode == 0, process.stderr
    found = {name for name in process.stdout.split() if not name.startswith("_")}
    # NumPy's compiled parts make cython_runtime.
    assert found - {"cython_runtime"} == {"device_runner", "numpy", "click"}


def test_help_imports_click_alone(run_python, copied_package):
    """NumPy and the commands come when they are used: a start costs nothing that is not needed."""
    script = (
        "import runpy, sys\nsys.argv = ['device_runner', '--help']\n"
        "try: runpy.run_module('device_runner', run_name='__main__')\n"
        "except SystemExit: print(sorted(name for name in sys.modules if 'device_runner' in name),"
        " 'numpy' in sys.modules)"
    )
    process = run_python("-c", script, cwd=copied_package)
    listed = ["device_runner", "device_runner.cli", "device_runner.commands",
              "device_runner.commands.group", "device_runner.errors"]  # fmt: skip
    assert process.stdout.splitlines()[-1] == f"{listed} False", process.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("inspect",), "gru 16, int8"),
        (("verify", "--backend", "litert"), "ok"),
        (("bench", "--backend", "litert", *SHORT), "Microseconds"),
    ],
)
def test_copied_folder_works_alone(arguments, part, int8_file, copied_package, run_python):
    command, *options = arguments
    process = run_python("-m", "device_runner", command, int8_file, *options, cwd=copied_package)
    assert process.returncode == 0, process.stderr
    assert part in process.stdout
    assert COPY in process.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is None,
    reason="tflite-runtime is not installed; it has no wheels for Python 3.12 and newer",
)
def test_all_cells_verify_on_tflite_runtime(step_models, run_python):
    """In a process of its own: two TFLite runtimes in one process can crash each other."""
    files = [
        step_models(cell, scheme)
        for cell in ("simple-rnn", "lstm", "gru")
        for scheme in ("float32", "int8")
    ]
    verify = ("-m", "device_runner", "verify", *files, "--json", "--backend", "tflite-runtime")
    process = run_python(*verify, cwd=PACKAGE.parent)
    assert process.returncode == 0, process.stderr
    found = [json.loads(line) for line in process.stdout.splitlines()]
    assert [facts["file"] for facts in found] == [str(file) for file in files]
    for file, facts in zip(files, found, strict=True):
        assert facts["backend"] == "tflite-runtime"
        assert facts["failure"] is None
        assert facts["steps"] == sum(load_step_model(file).golden.lengths)
