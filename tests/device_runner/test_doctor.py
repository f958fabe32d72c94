"""edgestep doctor: each backend probed in a process of its own, from a folder and from the zip."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from device_runner import doctor
from device_runner.backends import BACKENDS, backend_module
from device_runner.doctor import Diagnosis, diagnose
from device_runner.errors import MissingRuntimeError
from pipeline.bundle import write_bundle

BACKENDS_PAGE = Path(__file__).parents[2] / "docs" / "backends.md"


@pytest.mark.parametrize("name", BACKENDS)
def test_each_backend_of_the_list_has_its_module_and_its_row_in_the_docs(name):
    module = backend_module(name)
    assert callable(module.load)
    assert callable(module.probe)
    assert name == module.NAME
    assert f"\n| `{name}` |" in BACKENDS_PAGE.read_text()


def test_a_backend_that_is_here():
    diagnosis = diagnose("litert")
    assert diagnosis.usable
    assert diagnosis.finding == backend_module("litert").probe()


def test_a_backend_that_is_not_here(tmp_path, monkeypatch):
    """As if LiteRT were not installed: a package of that name that cannot be imported."""
    (tmp_path / "ai_edge_litert.py").write_text("raise ImportError('hidden\\nby the test')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    diagnosis = diagnose("litert")
    assert not diagnosis.usable
    assert "hidden by the test" in diagnosis.finding
    assert "pip install ai-edge-litert" in diagnosis.finding


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("import os; os.abort()", "crashes (SIGABRT)"),
        ("import os; os._exit(7)", "exit code 7"),
        ("raise OSError('broken\\nwheel')", "OSError: broken wheel"),
        ("import time; time.sleep(60)", "does not answer"),
    ],
)
def test_a_runtime_that_breaks_does_not_break_the_doctor(body, part, tmp_path, monkeypatch):
    (tmp_path / "ai_edge_litert.py").write_text(body + "\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "sleep" in body:
        monkeypatch.setattr(doctor, "PROBE_LIMIT_S", 2)
    diagnosis = diagnose("litert")
    assert not diagnosis.usable
    assert part in diagnosis.finding
    assert len(diagnosis.finding.splitlines()) == 1


def test_noise_of_native_code_is_no_answer(tmp_path, monkeypatch):
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("print('INFO: noise', end='')\n")
    (package / "interpreter.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert diagnose("litert").usable


@pytest.fixture
def fake_diagnoses(monkeypatch):
    """Diagnoses without probing: only the named backends are usable."""

    def use(*usable):
        monkeypatch.setattr(
            doctor, "diagnose", lambda name: Diagnosis(name, name in usable, f"about {name}")
        )

    return use


def test_every_backend_is_listed(invoke, fake_diagnoses):
    fake_diagnoses("litert")
    result = invoke("doctor", "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["backend"] for line in lines] == list(BACKENDS)
    assert [line["backend"] for line in lines if line["usable"]] == ["litert"]
    text = invoke("doctor").stdout
    for name in BACKENDS:
        assert f"about {name}" in text


def test_no_usable_backend_is_exit_code_4(invoke, fake_diagnoses, error_line):
    fake_diagnoses()
    result = invoke("doctor")
    assert result.exit_code == MissingRuntimeError.exit_code == 4
    assert "pip install" in error_line(result)
    assert len(result.stdout.splitlines()) == len(BACKENDS)


def test_from_the_zip(tmp_path, run_python):
    """The child runs the code of the zip, not of a checkout that it finds elsewhere."""
    bundle = write_bundle(tmp_path / "device.pyz")
    changed = tmp_path / "changed.pyz"
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("backends/litert.py"):
                content += b"\n\ndef probe():\n    return 'asked in the zip'\n"
            target.writestr(name, content)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from device_runner import doctor;"
        "print(doctor.diagnose('litert'))"
    )
    done = run_python("-c", script, changed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "asked in the zip" in done.stdout
    done = run_python(bundle, "doctor", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
