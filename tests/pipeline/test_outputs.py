"""No command overwrites a file of another kind unless it is told to."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from convert.exporters.c import ENDINGS, export_c
from device_runner.errors import OptionError
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_replaceable
from pipeline.cli import main
from tests.foreign_files import foreign_file

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
        ("export-web", "MODEL"),
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


@pytest.mark.parametrize("name", ["chosen", "default"])
@pytest.mark.parametrize("command", ["adopt", "convert"])
def test_a_conversion_leaves_another_kind_of_file(tmp_path, command, name):
    model = tmp_path / "net.tflite"
    model.write_bytes(foreign_file("states-lstm").read_bytes())
    extra = ("--target", "cpu", "--random-calibration") if command == "convert" else ()
    ending = "step" if command == "adopt" else "int8"
    output = tmp_path / ("mine.tflite" if name == "chosen" else f"net-{ending}.tflite")
    output.write_text("three years of work\n")
    chosen = ("--output", str(output)) if name == "chosen" else ()
    result = CliRunner().invoke(main, [command, str(model), *extra, *chosen])
    assert result.exit_code == 2, result.output
    assert f"{output} is there and is not a step model" in result.stderr
    assert output.read_text() == "three years of work\n"


@pytest.mark.parametrize("command", ["adopt", "convert", "compile-edgetpu", "restore-contract"])
def test_no_command_writes_over_what_it_reads(tmp_path, command):
    model = tmp_path / "net.tflite"
    kept = next(KEPT.glob("lstm-int8.tflite")).read_bytes()
    model.write_bytes(foreign_file("states-lstm").read_bytes() if command == "adopt" else kept)
    before = model.read_bytes()
    extra: tuple[str, ...] = ("--target", "cpu", "--random-calibration")
    if command != "convert":
        extra = (str(model),) if command == "restore-contract" else ()
    result = CliRunner().invoke(main, [command, str(model), *extra, "--output", str(model)])
    assert result.exit_code == 2, result.output
    assert "is the file to read" in result.stderr
    assert model.read_bytes() == before


def test_a_drawing_replaces_a_drawing_alone(tmp_path):
    dot, model = tmp_path / "x.dot", str(next(KEPT.glob("*int8*.tflite")))
    for content, code in ((b"digraph family { a -> b }", 2), (b"", 0), (None, 0)):
        if content is not None:
            dot.write_bytes(content)
        result = CliRunner().invoke(main, ["inspect", model, "--graph", str(dot)])
        assert result.exit_code == code, result.output
        assert code == 0 or dot.read_bytes() == content


def test_samples_of_two_models_of_one_name_or_over_other_arrays_are_refused(tmp_path):
    first, second, samples = tmp_path / "a" / "net.tflite", tmp_path / "net.tflite", tmp_path / "s"
    first.parent.mkdir()
    samples.mkdir()
    for path in (first, second):
        path.write_bytes(next(KEPT.glob("lstm-int8.tflite")).read_bytes())
    bench = ["bench", "--steps", "100", "--rounds", "1", "--warmup", "0", "--backend", "reference"]
    result = CliRunner().invoke(main, [*bench, str(first), str(second), "--samples", str(samples)])
    assert result.exit_code == 2, result.output
    assert f"the samples of {first} and {second} would both go to" in result.stderr
    np.save(samples / "net.npy", np.ones((5, 2), np.float32))
    before = (samples / "net.npy").read_bytes()
    for force, code in (((), 2), (("--force",), 0), ((), 0)):
        assert (samples / "net.npy").read_bytes() == before or code == 0
        result = CliRunner().invoke(main, [*bench, str(first), "--samples", str(samples), *force])
        assert result.exit_code == code, result.output
    assert np.load(samples / "net.npy").shape == (100,)
