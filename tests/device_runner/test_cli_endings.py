"""Outputs that cannot be written, closed pipes and Ctrl-C: each ends in one line."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device_runner.cli import main
from device_runner.errors import BadModelError
from tests.device_runner.command_line import (
    LITERT,
    SHORT,
    csv,
)

# Full disks and bad folders


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


# Closed pipes and Ctrl-C


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "no memory left"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "no processes left"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no memory left"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (BadModelError("name\x1b[2J\nWARNING \u202e reversed"), "name?[2J WARNING ? reversed"),
    ],
)
def test_what_a_machine_lacks_or_a_file_holds_ends_in_one_line(
    error, said, int8_file, invoke, error_line, monkeypatch
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("device_runner.commands.inspect.load_step_model", fail)
    line = error_line(invoke("inspect", int8_file))
    assert said in line
    assert line.isprintable()
