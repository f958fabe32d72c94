"""The commands: what they print, and that every mistake ends in one line and an exit code."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
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

USAGE, BAD_DATA, MISSING_RUNTIME, FAILED_VERIFICATION = 2, 3, 4, 5
SHORT = ("--steps", 100, "--rounds", 1, "--warmup", 0)
LITERT = ("--backend", "litert")


@pytest.fixture
def tampered_file(workshop) -> Path:
    """A model that computes something else than its golden outputs say."""
    golden = workshop.model.golden
    data = workshop.packed(golden=replace(golden, outputs={"y": golden.y + 100}))
    return workshop.write(data, "tampered.tflite")


@pytest.fixture
def no_runtime(monkeypatch) -> None:
    """A device without any TFLite runtime."""
    for package in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)


def csv(frames: np.ndarray) -> str:
    return "".join(",".join(map(repr, frame)) + "\n" for frame in frames.astype(float).tolist())


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
    assert facts["golden"] == {"sequences": 2, "steps": 32}
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
        assert "32 steps" in line


def test_verify_as_json(int8_file, invoke):
    result = invoke("verify", int8_file, "--json", *LITERT)
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["file"] == str(int8_file)
    assert facts["failure"] is None
    assert facts["steps"] == 32
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
        ["model", "p50", "p90", "p99", "p99.9", "max", "invoke", "float", "io", "headroom"]
    )
    for row, file in zip(rows, (int8_file, float32_file), strict=False):
        name, p50, p90, p99, p999, largest, invoked, _, headroom = row.split()
        assert name == file.stem
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


# Bad models, inputs and backends


@pytest.fixture
def bad_model(workshop):
    """Path of a bad model by what is wrong with it."""

    def get(kind: str) -> Path:
        if kind == "missing":
            return workshop.folder / "missing.tflite"
        if kind == "folder":
            return workshop.folder
        contents = {
            "empty": b"",
            "random": random.Random(2).randbytes(3000),
            "truncated": workshop.data[:-500],
            "without-contract": workshop.model.flatbuffer,
            "other-scale": workshop.packed(
                contract=replace(
                    workshop.model.contract,
                    inputs=(replace(workshop.model.contract.input, scale=1.0),),
                )
            ),
            "pickled": workshop.with_golden(x=np.array([{}], object)),
        }
        return workshop.write(contents[kind], f"{kind}.tflite")

    return get


@pytest.mark.parametrize("command", ["inspect", "verify", "bench", "stream"])
@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "folder",
        "empty",
        "random",
        "truncated",
        "without-contract",
        "other-scale",
        "pickled",
    ],
)
def test_bad_model_ends_in_one_line(command, kind, bad_model, invoke, error_line):
    path = bad_model(kind)
    result = invoke(command, path, input="")
    assert result.exit_code == BAD_DATA
    assert error_line(result).startswith(f"Error: {path}")
    assert result.stdout == ""


def test_bad_model_after_a_good_one(int8_file, bad_model, invoke, error_line):
    empty = bad_model("empty")
    for command in ("verify", "bench"):
        result = invoke(command, int8_file, empty, *LITERT)
        assert result.exit_code == BAD_DATA
        assert error_line(result).startswith(f"Error: {empty}")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("bench", "FILE", "--steps", 99), "--steps"),
        (("bench", "FILE", "--steps", "many"), "--steps"),
        (("bench", "FILE", "--rounds", 0), "--rounds"),
        (("bench", "FILE", "--warmup", -1), "--warmup"),
        (("bench", "FILE", "--threads", 0), "--threads"),
        (("bench", "FILE", "--fast"), "--fast"),
        (("bench", "FILE", "--output", "."), "--output"),
        (("bench",), "FILES"),
        (("verify",), "FILES"),
        (("inspect",), "FILE"),
        (("inspect", "FILE", "FILE"), "extra argument"),
        (("measure", "FILE"), "No such command 'measure'"),
    ],
)
def test_wrong_usage_ends_in_one_line(arguments, part, int8_file, invoke, error_line):
    result = invoke(*(int8_file if argument == "FILE" else argument for argument in arguments))
    assert result.exit_code == USAGE
    assert part in error_line(result)


@pytest.mark.parametrize(
    ("typed", "meant"), [("bnech", "bench"), ("verfy", "verify"), ("inspct", "inspect")]
)
def test_unknown_command_suggests_the_nearest(typed, meant, invoke, error_line):
    result = invoke(typed)
    assert result.exit_code == USAGE
    assert error_line(result).endswith(f"; did you mean '{meant}'?")


@pytest.mark.parametrize("command", ["verify", "bench", "stream"])
@pytest.mark.parametrize(
    ("typed", "meant"),
    [("liter", "litert"), ("tflite_run", "tflite-runtime"), ("tensorlow", "tensorflow")],
)
def test_unknown_backend_suggests_the_nearest(command, typed, meant, int8_file, invoke, error_line):
    result = invoke(command, int8_file, "--backend", typed, input="")
    assert result.exit_code == USAGE
    line = error_line(result)
    assert f"unknown backend '{typed}'; did you mean '{meant}'?" in line
    assert "There are: " in line


def test_unknown_backend_without_a_near_one_lists_all(int8_file, invoke, error_line):
    result = invoke("verify", int8_file, "--backend", "zzz")
    assert result.exit_code == USAGE
    line = error_line(result)
    assert "did you mean" not in line
    assert all(name in line for name in ("litert", "tflite-runtime", "tensorflow"))


@pytest.mark.parametrize("command", ["verify", "bench", "stream"])
@pytest.mark.parametrize("backend", ["auto", "litert", "tflite-runtime", "tensorflow"])
def test_missing_runtime_says_how_to_install_it(
    command, backend, no_runtime, int8_file, invoke, error_line
):
    result = invoke(command, int8_file, "--backend", backend, input="")
    assert result.exit_code == MISSING_RUNTIME
    assert "pip install" in error_line(result)


def test_inspect_needs_no_runtime(no_runtime, int8_file, invoke):
    assert invoke("inspect", int8_file).exit_code == 0


class BrokenRuntime:
    """A finder by which one package fails to import with NumPy's many-line explanation."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ImportError("\n\nA module that was compiled using NumPy 1.x\ncannot be run.\n")


def test_broken_runtime_ends_in_one_line(int8_file, invoke, error_line, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tflite_runtime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [BrokenRuntime("tflite_runtime"), *sys.meta_path])
    result = invoke("verify", int8_file, "--backend", "tflite-runtime")
    assert result.exit_code == MISSING_RUNTIME
    assert "compiled using NumPy 1.x" in error_line(result)


def test_runtime_of_another_distribution_works(int8_file, invoke, monkeypatch):
    """ai-edge-litert-nightly and distributions' own packages hold the same module."""
    import importlib.metadata

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert invoke("verify", int8_file, *LITERT).exit_code == 0


# Full disks, bad folders, Ctrl-C


def test_output_below_a_file_ends_in_one_line(int8_file, invoke, error_line):
    output = int8_file / "results.jsonl"
    line = error_line(invoke("bench", int8_file, "--output", output, *SHORT, *LITERT))
    assert str(output) in line
    assert "choose another folder" in line


def test_output_in_a_missing_folder_ends_in_one_line(int8_file, tmp_path, invoke, error_line):
    output = tmp_path / "missing" / "results.jsonl"
    assert str(output) in error_line(
        invoke("bench", int8_file, "--output", output, *SHORT, *LITERT)
    )


def test_output_of_too_long_a_name_ends_in_one_line(int8_file, tmp_path, invoke, error_line):
    error_line(invoke("bench", int8_file, "--output", tmp_path / ("x" * 300), *SHORT, *LITERT))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_ends_in_one_line(int8_file, invoke, error_line):
    line = error_line(invoke("bench", int8_file, "--output", "/dev/full", *SHORT, *LITERT))
    assert "No space left on device" in line
    assert "free space" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_standard_output_ends_in_one_line(int8_file, tmp_path):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "device_runner", "inspect", int8_file],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode != 0
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("Error: cannot write")


@pytest.mark.parametrize("command", ["inspect", "stream"])
def test_closed_pipe_prints_no_traceback(command, int8_file, frames):
    process = subprocess.Popen(
        [sys.executable, "-m", "device_runner", command, int8_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(csv(np.tile(frames, (5, 1))), timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in stderr
    assert "Error" not in stderr


@pytest.mark.parametrize(
    ("command", "patched"),
    [
        ("bench", "bench.benchmark.bench"),
        ("verify", "verify.verify"),
        ("inspect", "inspect.load_step_model"),
    ],
)
def test_interrupt_ends_in_one_line(command, patched, int8_file, invoke, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"device_runner.commands.{patched}", interrupt)
    result = invoke(command, int8_file)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 130
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Interrupted")
    assert result.stdout == ""


def test_real_interrupt_of_a_long_bench(int8_file, tmp_path):
    output = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "device_runner", "bench", int8_file, *LITERT]
    process = subprocess.Popen(
        [*command, "--steps", "100000000", "--output", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        patience = time.monotonic() + 60
        while not output.exists():  # opened just before the measurement
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert [line for line in stderr.splitlines() if "XNNPACK" not in line] == [main.interrupted]
    assert stdout == ""
    assert output.read_text() == ""


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
