"""No command overwrites a file of another kind unless it is told to."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert.exporters.c import ENDINGS, export_c
from device_runner.errors import OptionError
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_replaceable
from pipeline.cli import main

KEPT = Path("tests/step_models")
FOREIGN = {
    "text": b"notes of a year\n",
    "json": b'{"a": 1}',
    "another .tflite": b"\x1c\0\0\0TFL3" + bytes(100),
    "archive": b"PK\x03\x04" + bytes(100),
    "image": b"\x89PNG\r\n" + bytes(100),
}


@pytest.mark.parametrize("kind", list(OutputKind))
@pytest.mark.parametrize("content", FOREIGN.values(), ids=list(FOREIGN))
def test_another_kind_of_file_is_refused_and_left(tmp_path, kind, content):
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(OptionError, match="say --force") as caught:
        check_replaceable(path, kind, force=False)
    assert "\n" not in caught.value.message
    check_replaceable(path, kind, force=True)
    assert path.read_bytes() == content


def test_what_is_ours_or_empty_or_missing_may_be_written(tmp_path):
    step_model = next(KEPT.glob("*.tflite"))
    check_replaceable(step_model, OutputKind.STEP_MODEL, force=False)
    for kind in OutputKind:
        check_replaceable(tmp_path / "missing", kind, force=False)
        (tmp_path / "empty").touch()
        check_replaceable(tmp_path / "empty", kind, force=False)
    check_replaceable(Path("docs/techniques.md"), OutputKind.TECHNIQUES, force=False)


@pytest.mark.parametrize(
    "command",
    [
        ("device", "bundle"),
        ("techniques",),
        ("export-onnx", "MODEL"),
        ("restore-contract", "MODEL", "MODEL"),
    ],
    ids=" ".join,
)
def test_commands_leave_another_kind_of_file(tmp_path, command):
    output = tmp_path / "thesis.md"
    output.write_text("three years of work\n")
    model = next(KEPT.glob("*float32*.tflite"))
    arguments = [str(model) if word == "MODEL" else word for word in command]
    result = CliRunner().invoke(main, [*arguments, "--output", str(output)])
    assert result.exit_code == 2, result.output
    assert "thesis.md is there and is not a" in result.stderr
    assert output.read_text() == "three years of work\n"


def test_a_program_replaces_a_program(tmp_path):
    output = tmp_path / "device.pyz"
    for _ in range(2):
        result = CliRunner().invoke(main, ["device", "bundle", "--output", str(output)])
        assert result.exit_code == 0, result.output
        assert zipfile.is_zipfile(output)


@pytest.mark.parametrize("ending", ENDINGS)
def test_export_c_leaves_a_c_file_that_it_did_not_write(tmp_path, ending):
    (tmp_path / f"net{ending}").write_text("/* my own */\n")
    model = load_step_model(next(KEPT.glob("*int8*.tflite")))
    with pytest.raises(OptionError, match="C file of"):
        export_c(model, tmp_path, "net")
    assert (tmp_path / f"net{ending}").read_text() == "/* my own */\n"
