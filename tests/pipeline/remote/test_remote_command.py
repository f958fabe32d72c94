"""The command for several devices: one failing, cancelled, its options and its wrong use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.remote import bench
from tests.pipeline.remote.device_runs import (
    PACED,
    REPOSITORY,
    SHORT,
    assert_clean,
    device,
    error_line,
    inventory,
    invoke,
    needs_sshd,
)

pytestmark = needs_sshd


def test_one_bad_device_does_not_spoil_the_other(serve, models, tmp_path):
    good, bad = serve(), serve()
    output = tmp_path / "results.jsonl"
    devices = inventory(
        tmp_path / "inventory.toml",
        good=device(good),
        bad=device(bad, python="no-such-python"),
        unused=device(bad, python="unused"),
    )
    result = invoke(models[0], *SHORT, "--inventory", devices, "--output", output,
                    "--host", "bad", "--host", "good")  # fmt: skip
    assert result.exit_code == 4
    assert [json.loads(line)["device"] for line in output.read_text().splitlines()] == ["good"]
    (failed,) = (line for line in result.stderr.splitlines() if line.startswith("FAILED"))
    assert failed.startswith("FAILED  bad: there is no 'no-such-python'")
    assert error_line(result) == "Error: 1 of 2 devices failed: bad"
    assert_clean(good)
    assert_clean(bad)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_run_leaves_nothing(ending, server, models, tmp_path):
    devices = inventory(tmp_path / "inventory.toml", pi=device(server))
    command = subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "bench", *models, *PACED,
         "--duration", "300", "--inventory", devices],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert command.stderr
    while not any(server.runs()):
        time.sleep(0.05)
        assert command.poll() is None, command.stderr.read()
    command.send_signal(ending)
    _, errors = command.communicate(timeout=30)
    assert command.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("Interrupted: the devices were told to stop")
    assert "Traceback" not in errors
    assert_clean(server)


def test_a_bad_model_is_refused_before_anything_is_copied(models, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model")
    result = invoke(models[0], bad, "--host", "nowhere.invalid")
    assert result.exit_code == 3
    assert str(bad) in error_line(result)


def test_options_go_to_the_device_as_they_were_given(models, monkeypatch):
    sent = []

    def note(devices, files, options, *_):
        sent.append((list(devices), files, options))
        return {}

    monkeypatch.setattr(bench, "bench_devices", note)
    given = ["--delegate", "/usr/lib/x.so", "--delegate-option", "a=1", "--delegate-option", "b=2",
             "--cpu", "2", "--cpu", "3", "--paced", "--duration", "2.5"]  # fmt: skip
    result = invoke(models[0], *given, "--host", "pi@one", "--json")
    assert result.exit_code == 0, result.output
    ((devices, files, options),) = sent
    assert devices == ["pi@one"]
    assert files == [models[0]]
    one_by_one = sorted(" ".join(pair) for pair in pairs(options))
    assert one_by_one == sorted(" ".join(pair) for pair in pairs(given))


def pairs(options: list[str]) -> list[list[str]]:
    """Join an option and its value, if it has one."""
    found: list[list[str]] = []
    for text in options:
        if text.startswith("--"):
            found.append([])
        found[-1].append(text)
    return found


def test_wrong_use(models, tmp_path):
    for arguments, said in [
        (("--python", "python3"), "--python is for devices"),
        (("--host", "pi", "--samples", tmp_path), "--samples"),
        (("--host", "pi:secret@host"), "password"),
        (("--host", "pi", "--backend", "litrt"), "litert"),
    ]:
        result = invoke(models[0], *arguments)
        assert result.exit_code == 2, arguments
        assert said in error_line(result)


def test_without_the_remote_extra(models, monkeypatch):
    for module in ("bench", "connection", "device_folder", "measurement", "remote_run"):
        monkeypatch.delitem(sys.modules, f"pipeline.remote.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    result = invoke(models[0], "--host", "pi")
    assert result.exit_code == 4
    assert "edgestep[remote]" in error_line(result)


def test_without_host_it_is_measured_here(models):
    result = invoke(models[0], *SHORT, "--json")
    assert result.exit_code == 0, result.output
    assert "device" not in json.loads(result.stdout)
