"""The installed wheel: whole, and at home in a folder that has packages of our names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edgestep", "models", "calibration", "convert", "device_runner", "pipeline")
# What a user has in his working directory, by file.
HOSTILE = {
    "models/__init__.py": "",
    "models/data.py": "HEIGHT = 7\n",
    "models/cells.py": "raise RuntimeError('the cells of the user')\n",
    "convert/__init__.py": "raise RuntimeError('the convert of the user')\n",
    "calibration/__init__.py": "raise RuntimeError('the calibration of the user')\n",
    "pipeline/__init__.py": "raise RuntimeError('the pipeline of the user')\n",
    "my_data.py": "import numpy\nfrom models.data import HEIGHT\n\n"
    "def frames():\n    return [numpy.full((2, 3), HEIGHT)]\n",
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _built(folder: Path) -> Path:
    """The wheel of these sources, built in a copy of them: a build leaves files in its tree."""
    copy = folder / "sources"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder_name in (*PACKAGES, "native"):
        shutil.copytree(ROOT / folder_name, copy / folder_name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    subprocess.run([*pip, "wheel", *options, "-w", folder, copy], check=True)
    (wheel,) = folder.glob("edgestep-*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return _built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder into which pip has installed the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "install", "--no-index", "--no-deps", "--target", folder, wheel]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def run(installed, tmp_path) -> Run:
    """Runs Python with the wheel in a folder of a user's."""
    for name, text in HOSTILE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(*arguments: object, path: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{path}{installed}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_it_holds_every_file_of_the_packages(wheel):
    wanted = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= wanted
    # A link in the sources: the kernels that firmware takes are those of libedgestep.
    kernels = "convert/exporters/firmware/kernels"
    wanted |= {f"{kernels}/{header.name}" for header in (ROOT / "native/src").glob("*.h")}
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (entry_points,) = (name for name in held if name.endswith("entry_points.txt"))
        assert "edgestep = edgestep.__main__:main" in archive.read(entry_points).decode()
    assert wanted == {name for name in held if ".dist-info/" not in name}


def test_both_programs_run_ours(run, installed, tmp_path):
    # "python -m" would find this one first, too.
    (tmp_path / "click.py").write_text("raise RuntimeError('the click of the user')")
    shown = run("-m", "edgestep", "--help")
    assert "convert" in shown.stdout, shown.stderr
    # Into convert and its data files.
    command = ("check", "none.tflite", "--target", "edgetpu")
    checked = run("-m", "edgestep", *command)
    assert (checked.returncode, checked.stderr.count("\n")) == (3, 1), checked.stderr
    assert "none.tflite" in checked.stderr
    alone = run("-m", "device_runner", "inspect", "none.tflite")
    assert (alone.returncode, alone.stderr.count("\n")) == (3, 1), alone.stderr
    # The command that pip makes, where PYTHONPATH leads to the user's packages first.
    (tmp_path / "click.py").unlink()
    script = run(installed / "bin" / "edgestep", *command, path=f"{tmp_path}{os.pathsep}")
    assert (script.returncode, script.stderr.count("\n")) == (3, 1), script.stderr


def test_a_script_gets_ours_or_is_told_what_is_in_the_way(run, installed, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from edgestep import Stream, bench, load_step_model\nprint(Stream, bench)\n")
    shown = run(script)
    assert "device_runner.stream.Stream" in shown.stdout, shown.stderr
    script.write_text("from edgestep import convert\n")
    refused = run(script)
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("ImportError: edgestep.convert needs edgestep's package 'models', but ")
    assert str(tmp_path / "models") in last
    # Without anything in the way; TensorFlow is not imported before it converts.
    for name in ("models", "convert", "calibration", "pipeline"):
        shutil.rmtree(tmp_path / name)
    script.write_text(
        "import sys\nfrom edgestep import convert\n"
        "print(sys.modules[convert.__module__].__file__, 'tensorflow' in sys.modules)\n"
    )
    shown = run(script)
    assert shown.stdout.split() == [
        str(installed / "convert" / "file_conversion.py"), "False"
    ], shown.stderr  # fmt: skip


@pytest.mark.parametrize("package", ["with __init__.py", "without"])
def test_a_data_function_gets_the_users_own(run, tmp_path, package):
    """What ``edgestep convert --data my_data:frames`` does."""
    if package == "without":
        (tmp_path / "models" / "__init__.py").unlink()
    shown = run(
        "-c",
        "from edgestep import __main__ as program\n"
        "program._leave_working_directory()\n"
        "program._import_own_packages()\n"
        "from calibration.data import InputShape, load_sequences\n"
        "(only,) = load_sequences('my_data:frames', [InputShape('x', (3,))])\n"
        "print(only['x'].ravel().tolist())\n",
    )
    assert shown.stdout.strip() == str([7.0] * 6), shown.stderr
