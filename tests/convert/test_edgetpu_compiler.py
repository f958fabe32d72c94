"""The compiler's log read and its file taken back, with a fake compiler; and what is said where
there is none."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert.errors import ConvertError
from convert.exporters.edgetpu_compiler import compile_for_edgetpu, manual_commands, parse_log
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import load_step_model
from pipeline.cli import main

# From https://github.com/google-coral/edgetpu/issues/342, as printed.
REAL_LOG = """\
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 153

Operator                       Count      Status


TRANSPOSE                      70         Operation not supported
FULLY_CONNECTED                1          More than one subgraph is not supported
PAD                            1          Mapped to Edge TPU
PAD                            17         More than one subgraph is not supported
QUANTIZE                       1          Operation is otherwise supported, but not mapped due to \
some unspecified limitation
"""
ALL_MAPPED = """\
ADD                            2          Mapped to Edge TPU
SPLIT                          1          Mapped to Edge TPU
FULLY_CONNECTED                3          Mapped to Edge TPU
LOGISTIC                       3          Mapped to Edge TPU
MUL                            3          Mapped to Edge TPU
TANH                           2          Mapped to Edge TPU
"""
SOME_MAPPED = ALL_MAPPED.replace(
    "MUL                            3          Mapped to Edge TPU",
    "MUL                            3          Operation not supported",
).replace(
    "TANH                           2          Mapped to Edge TPU",
    "TANH                           1          Mapped to Edge TPU\n"
    "TANH                           1          More than one subgraph is not supported",
)


@pytest.fixture
def original(step_models, tmp_path):
    path = tmp_path / "lstm.tflite"
    shutil.copy(step_models("lstm", "int8"), path)
    return path


@pytest.fixture
def fake_compiler(tmp_path, monkeypatch):
    """Puts the fake compiler on PATH; it prints ``log``."""

    def install(log: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        source = Path(__file__).parent / "fake_edgetpu_compiler.py"
        program = folder / "edgetpu_compiler"
        program.write_text(f"#!{sys.executable}\n{source.read_text()}")
        program.chmod(0o755)
        (folder / "log.txt").write_text(log)
        monkeypatch.setenv("PATH", str(folder))

    return install


def test_the_real_log_is_read():
    rows = [(row.name, row.count, row.status) for row in parse_log(REAL_LOG)]
    assert rows[0] == ("TRANSPOSE", 70, "Operation not supported")
    assert rows[2] == ("PAD", 1, "Mapped to Edge TPU")
    assert rows[-1][2].endswith("some unspecified limitation")
    assert [row[0] for row in rows] == ["TRANSPOSE", "FULLY_CONNECTED", "PAD", "PAD", "QUANTIZE"]


def test_compiled_and_given_its_contract_back(original, fake_compiler, tmp_path):
    fake_compiler(ALL_MAPPED)
    model = load_step_model(original)
    compiled, report = compile_for_edgetpu(model, tmp_path / "out.tflite")
    assert report.fits
    assert report.title == "Edge TPU compiler 16.0.384591198"
    assert [one.name for one in report.operators] == [op.name for op in model.graph.operators]
    again = load_step_model(tmp_path / "out.tflite")
    assert again.contract.versions["compiled from"] == model.contract.model_sha256
    assert again.contract == compiled.contract


def test_the_log_becomes_the_table(original, fake_compiler):
    fake_compiler(SOME_MAPPED)
    result = CliRunner().invoke(main, ["compile-edgetpu", str(original), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    by_name = {name: [one for one in report["operators"] if one["name"] == name]
               for name in ("MUL", "TANH", "FULLY_CONNECTED")}  # fmt: skip
    assert {one["status"] for one in by_name["MUL"]} == {"does not map"}
    assert by_name["MUL"][0]["reasons"] == ["Operation not supported"]
    assert [one["status"] for one in by_name["TANH"]] == ["maps", "after"]
    assert {one["status"] for one in by_name["FULLY_CONNECTED"]} == {"maps"}
    assert report["cost"] == "9 of 14 operators run on the CPU"
    assert original.with_name("lstm_edgetpu.tflite").exists()


@pytest.mark.parametrize(
    ("log", "part"), [("FAIL", "Internal compiler error"), ("NO FILE", "no file")]
)
def test_what_the_compiler_refuses_is_told(original, fake_compiler, tmp_path, log, part):
    fake_compiler(log)
    with pytest.raises(ConvertError, match=part):
        compile_for_edgetpu(load_step_model(original), tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()


def test_without_the_compiler_the_commands_are_named(original, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRuntimeError) as caught:
        compile_for_edgetpu(load_step_model(original), tmp_path / "out.tflite")
    for command in manual_commands(original):
        assert command in caught.value.message
    result = CliRunner().invoke(main, ["compile-edgetpu", str(original)])
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 1


def test_a_float_model_is_refused_before_the_compiler(step_models, fake_compiler):
    fake_compiler(ALL_MAPPED)
    result = CliRunner().invoke(main, ["compile-edgetpu", str(step_models("lstm", "float32"))])
    assert result.exit_code == 5
    assert "float32" in result.stderr
