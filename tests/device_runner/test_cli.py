"""The commands: what each prints, and its exit codes."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

from device_runner.cli import main
from device_runner.commands import COMMANDS
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from tests.device_runner.command_line import (
    BAD_DATA,
    FAILED_VERIFICATION,
    LITERT,
    SHORT,
    USAGE,
    csv,
)


@pytest.fixture
def tampered_file(workshop) -> Path:
    """Make a model that does not compute its golden outputs."""
    golden = workshop.model.golden
    data = workshop.packed(golden=replace(golden, outputs={"y": golden.y + 100}))
    return workshop.write(data, "tampered.tflite")


def golden_steps(file: Path) -> int:
    return int(sum(load_step_model(file).golden.lengths))


# inspect


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_inspect_shows_what_is_in_the_file(scheme, step_models, invoke):
    file = step_models("gru", scheme)
    model = load_step_model(file)
    result = invoke("inspect", file)
    assert result.exit_code == 0
    text = result.stdout
    assert str(file) in text
    assert f"{file.stat().st_size:,} bytes" in text
    assert f"{model.contract.parameters:,} parameters" in text
    assert f"accuracy: {model.contract.metrics['accuracy']}" in text
    (state,) = (line for line in text.splitlines() if line.split()[:2] == ["state", "h"])
    assert f"[1, 16] {scheme}" in state
    if scheme == "int8":
        spec = model.contract.states[0]
        assert f"scale {spec.scale:.6g}, zero point {spec.zero_point}" in state
    else:
        assert "scale" not in state
    operators = Counter((op.name, op.version) for op in model.graph.operators)
    for (name, version), count in operators.items():
        assert f"{count} x {name} (version {version})" in text


@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_inspect_as_json(scheme, step_models, invoke):
    file = step_models("gru", scheme)
    model = load_step_model(file)
    result = invoke("inspect", file, "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["path"] == str(file)
    assert facts["file_bytes"] == file.stat().st_size
    assert facts["model_bytes"] == len(model.flatbuffer)
    assert 0 < facts["weight_bytes"] < facts["model_bytes"]
    operators = {(op["name"], op["version"]): op["count"] for op in facts["operators"]}
    assert operators == Counter((op.name, op.version) for op in model.graph.operators)
    (state,) = facts["contract"]["states"]
    assert (state["scale"], state["zero_point"]) == (
        (model.contract.states[0].scale, model.contract.states[0].zero_point)
    )
    assert (state["scale"] is None) == (scheme == "float32")
    assert facts["contract"]["metrics"] == model.contract.metrics
    assert facts["labels"] == list(model.labels)
    assert facts["golden"] == {"sequences": 2, "steps": golden_steps(file)}
    signature = model.graph.signature("step")
    assert facts["step_tensors"]["inputs"] == signature.inputs
    assert sum(facts["tensor_dtypes"].values()) <= len(model.graph.tensors)


# verify


def test_verify_good_models(int8_file, float32_file, invoke):
    result = invoke("verify", int8_file, float32_file, *LITERT)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line, file in zip(lines, (int8_file, float32_file), strict=True):
        assert line.startswith("ok")
        assert str(file) in line
        assert "litert" in line
        assert f"{golden_steps(file)} steps" in line


def test_verify_as_json(int8_file, invoke):
    result = invoke("verify", int8_file, "--json", *LITERT)
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["file"] == str(int8_file)
    assert facts["failure"] is None
    assert facts["steps"] == golden_steps(int8_file)
    assert 0 < facts["rms"] <= facts["max_abs"]
    assert facts["rms"] <= facts["tolerance"]["rms"]


def test_verify_fails_on_other_golden_outputs(tampered_file, invoke, error_line):
    result = invoke("verify", tampered_file, *LITERT)
    assert result.exit_code == FAILED_VERIFICATION
    line = error_line(result)
    assert line.startswith(f"Error: {tampered_file}: rms error 100 is above")
    assert "do not use it here" in line


@pytest.mark.parametrize("order", [1, -1])
def test_verify_goes_on_after_a_failure(order, tampered_file, int8_file, invoke, error_line):
    files = [tampered_file, int8_file][::order]
    result = invoke("verify", *files, "--json", *LITERT)
    assert result.exit_code == FAILED_VERIFICATION
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [facts["file"] for facts in found] == [str(file) for file in files]
    assert [facts["failure"] is None for facts in found] == [file == int8_file for file in files]
    assert str(tampered_file) in error_line(result)


# bench


def test_bench_prints_a_table(int8_file, float32_file, invoke):
    result = invoke("bench", int8_file, float32_file, *SHORT, *LITERT)
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == (
        [
            "model",
            "front",
            "end",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
            "invoke",
            "float",
            "io",
            "headroom",
        ]
    )
    for row, file in zip(rows, (int8_file, float32_file), strict=False):
        name, front_end, p50, p90, p99, p999, largest, invoked, _, headroom = row.split()
        assert name == file.stem
        assert float(front_end) > 0
        assert float(invoked) > 0
        assert 0 < float(p50) <= float(p90) <= float(largest)
        # 100 steps are too few for these.
        assert (p99, p999) == ("-", "-")
        assert headroom.endswith("x")
    assert "Microseconds of one step on litert" in result.stdout
    assert "frame period (6.4 ms)" in result.stdout


def test_bench_as_json(int8_file, float32_file, invoke):
    result = invoke("bench", int8_file, float32_file, "--json", *SHORT, *LITERT)
    assert result.exit_code == 0
    measured = [json.loads(line) for line in result.stdout.splitlines()]
    assert [facts["file"] for facts in measured] == [int8_file.name, float32_file.name]
    for facts in measured:
        assert facts["valid"] is True
        assert facts["invalid_reason"] is None
        assert facts["backend"] == "litert"
        assert facts["settings"]["steps"] == facts["latency_ns"]["step"]["samples"] == 100
        assert facts["settings"]["interleaved_with"] == 2
        assert facts["latency_ns"]["deadline"] == 6_400_000
        assert facts["machine"]["cores"] == os.cpu_count()


def test_bench_appends_its_results(int8_file, tmp_path, invoke):
    output = tmp_path / "results.jsonl"
    output.write_text('{"result_format": 2, "earlier": 1}\n')
    for _ in range(2):
        assert invoke("bench", int8_file, "--output", output, *SHORT, *LITERT).exit_code == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert lines[0] == {"result_format": 2, "earlier": 1}
    assert [line["file"] for line in lines[1:]] == [int8_file.name] * 2


def test_bench_writes_over_nothing_else(int8_file, tmp_path, invoke, error_line):
    output = tmp_path / "model.tflite"
    output.write_bytes(int8_file.read_bytes())
    result = invoke("bench", int8_file, "--output", output, *SHORT, *LITERT)
    assert result.exit_code == USAGE
    assert str(output) in error_line(result)
    assert output.read_bytes() == int8_file.read_bytes()


def test_bench_marks_a_model_that_fails(tampered_file, int8_file, tmp_path, invoke, error_line):
    output = tmp_path / "results.jsonl"
    arguments = (tampered_file, int8_file, "--output", output, *SHORT, *LITERT)
    result = invoke("bench", *arguments)
    assert result.exit_code == FAILED_VERIFICATION
    assert str(tampered_file) in error_line(result)
    assert "INVALID tampered.tflite: rms error" in result.stdout
    valid = [json.loads(line)["valid"] for line in output.read_text().splitlines()]
    assert valid == [False, True]


# stream


def test_stream_steps_csv_and_an_empty_line_resets(int8_file, frames, invoke):
    lines = csv(frames[:3]) + "\n" + csv(frames[:3])
    result = invoke("stream", int8_file, *LITERT, input=lines)
    assert result.exit_code == 0
    rows = [line.split(",") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "3", "5", "6", "7"]
    assert [row[1:] for row in rows[:3]] == [row[1:] for row in rows[3:]]
    stream = Stream(int8_file, "litert")
    for row, frame in zip(rows[:3], frames[:3], strict=True):
        y = stream.step(frame)
        assert row[1] == stream.model.labels[int(np.argmax(y))]
        np.testing.assert_allclose([float(cell) for cell in row[2:]], y, rtol=1e-5)


def test_stream_reads_a_file(int8_file, frames, tmp_path, invoke):
    source = tmp_path / "frames.csv"
    source.write_text(csv(frames[:4]).replace("\n", "\r\n"))
    from_file = invoke("stream", int8_file, source, *LITERT)
    assert from_file.exit_code == 0
    assert len(from_file.stdout.splitlines()) == 4
    assert from_file.stdout == invoke("stream", int8_file, *LITERT, input=csv(frames[:4])).stdout


def test_stream_of_nothing_prints_nothing(int8_file, invoke):
    result = invoke("stream", int8_file, *LITERT, input="")
    assert result.exit_code == 0
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("1,2,3", "it has 3 values, the model takes 12"),
        (",".join("1" * 13), "it has 13 values, the model takes 12"),
        ("a" + ",1" * 11, "could not convert string to float: 'a'"),
        (",1" * 11, "could not convert string to float: ''"),
        (";".join("1" * 12), "each line is numbers and commas"),
        ("nan" + ",1" * 11, "nan"),
        ("1" + ",-inf" * 11, "inf"),
        ("1e999" + ",1" * 11, "inf"),
    ],
)
def test_bad_csv_is_named_by_its_line(line, part, int8_file, frames, invoke, error_line):
    result = invoke("stream", int8_file, *LITERT, input=f"{csv(frames[:2])}\n{line}\n")
    assert result.exit_code == BAD_DATA
    message = error_line(result)
    assert message.startswith("Error: line 4: ")
    assert part in message
    assert len(result.stdout.splitlines()) == 2


def test_binary_source_is_refused(int8_file, tmp_path, invoke, error_line):
    source = tmp_path / "frames.npy"
    source.write_bytes(b"\x93NUMPY" + random.Random(1).randbytes(200))
    result = invoke("stream", int8_file, source, *LITERT)
    assert result.exit_code == BAD_DATA
    error_line(result)


# The program


def test_help_names_every_command(invoke):
    result = invoke("--help")
    assert result.exit_code == 0
    assert set(COMMANDS) >= {"doctor", "inspect", "verify", "bench", "stream"}
    for name, entry in COMMANDS.items():
        (line,) = (line for line in result.stdout.splitlines() if line.split()[:1] == [name])
        assert line.endswith(entry.purpose)
    assert "..." not in result.stdout.partition("Commands")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_called_as_it_is_listed(name, invoke):
    command = main.get_command(click.Context(main), name)
    assert command.name == name
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {name}")
