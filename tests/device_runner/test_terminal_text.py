"""What a file, a device or a recipe says cannot move a terminal's cursor or add lines to ours."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from device_runner.measure.result_table import format_results
from device_runner.model.contract import CONTRACT_FILE
from device_runner.model.step_file import LABELS_FILE, load_step_model, split_step_file
from pipeline.cli import main

KEPT = Path("tests/step_models/lstm-int8.tflite")
ATTACK = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e\u2028\x00\ud800\nERROR"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
BENCH = ("--steps", "100", "--rounds", "1", "--warmup", "0", "--backend", "reference")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A step model whose free texts are all attacks."""
    flatbuffer, members = split_step_file(KEPT.read_bytes())
    contract = json.loads(members[CONTRACT_FILE])
    for name in ("frame_period_source", "input_units", "output_meaning", "recipe_hash"):
        contract[name] = ATTACK
    contract["metrics"] = {ATTACK: ATTACK, "nested": {ATTACK: [ATTACK]}}
    contract["versions"] = {ATTACK: ATTACK}
    members[CONTRACT_FILE] = json.dumps(contract).encode()
    labels = members[LABELS_FILE].decode().split("\n")
    attack = ATTACK.replace("\n", "").replace("\ud800", "") + ',"'
    members[LABELS_FILE] = "\n".join(attack + label for label in labels).encode()
    packed = io.BytesIO()
    packed.write(flatbuffer)
    with zipfile.ZipFile(packed, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    path = tmp_path_factory.mktemp("hostile") / "net.tflite"
    path.write_bytes(packed.getvalue())
    load_step_model(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("inspect",),
        ("inspect", "--json"),
        ("verify", "--backend", "reference"),
        ("stream", "--backend", "reference"),
        ("bench", *BENCH),
        ("check", "--target", "cpu"),
        ("sample",),
        ("translate",),
        ("export-onnx",),
        ("adopt",),
    ],
    ids=" ".join,
)
def test_a_file_cannot(hostile, command):
    frame = ",".join(["0.5"] * load_step_model(hostile).contract.input.shape[-1])
    name, *options = command
    result = CliRunner().invoke(main, [name, str(hostile), *options], input=f"{frame}\n")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not CONTROLS.search(result.output)
    assert not re.search(r"^ERROR", result.output, re.MULTILINE)


def test_labels_are_quoted_as_csv_wants_it(hostile):
    frame = ",".join(["0.5"] * load_step_model(hostile).contract.input.shape[-1])
    result = CliRunner().invoke(
        main, ["stream", str(hostile), "--backend", "reference"], input=frame
    )

    (row,) = csv.reader(result.stdout.splitlines())
    assert row[0] == "1"
    assert row[1].startswith("?[2J")
    np.array(row[2:], float)


def test_a_device_cannot():
    from device_runner.measure import benchmark
    from device_runner.measure.latency import BenchSettings
    from device_runner.stream import Stream

    settings = BenchSettings(steps=100, rounds=1, warmup_s=0)
    (measured,) = benchmark.bench([Stream(KEPT, "reference")], settings, benchmark.Circumstances())
    result = measured.result
    lines = len(format_results([result]).splitlines())
    result["file"] = result["backend"] = result["backend_version"] = ATTACK
    result["machine"]["model"] = result["machine"]["architecture"] = ATTACK
    result["valid"], result["invalid_reason"] = False, ATTACK
    result["warnings"] = [ATTACK]
    shown = format_results([result])
    assert not CONTROLS.search(shown)
    assert len(shown.splitlines()) <= lines + 2


@pytest.mark.parametrize("name", ["a\x1b[2J.tflite", "a\nb.tflite", "\udcff.tflite", "ü.tflite"])
def test_a_files_name_cannot(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(KEPT.read_bytes()[:2000])
    for command in (("inspect",), ("verify",), ("check", "--target", "cpu"), ("adopt",)):
        result = CliRunner().invoke(main, [command[0], str(path), *command[1:]])
        assert isinstance(result.exception, SystemExit), result.exception
        assert not CONTROLS.search(result.output)
        assert result.stderr.count("\n") == 1
