"""What the benchmark over ssh gives, and what it saves when a connection or a device fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from device_runner.backends.backend import LoadOptions
from device_runner.stream import Stream
from device_runner.verify import verify
from pipeline.errors import DeviceError
from pipeline.remote.bench import bench_devices
from tests.pipeline.remote.device_runs import (
    PACED,
    QUICK,
    REPOSITORY,
    SHORT,
    Watch,
    assert_clean,
    device,
    inventory,
    invoke,
    needs_sshd,
    run,
)
from tests.pipeline.remote.ssh_server import HOST

pytestmark = needs_sshd


# Measured


def test_models_are_measured_side_by_side_and_nothing_is_left(server, models, tmp_path):
    output = tmp_path / "made" / "results.jsonl"
    devices = inventory(tmp_path / "inventory.toml", pi=device(server, threads=2))
    result = invoke(*models, *SHORT, "--inventory", devices, "--output", output)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["file"] for line in lines] == [file.name for file in models]
    schema = json.loads(
        (REPOSITORY / "device_runner" / "measure" / "result.schema.json").read_text()
    )
    for line, file in zip(lines, models, strict=True):
        jsonschema.validate(line, schema)
        assert line["device"] == "pi"
        assert line["valid"]
        here = verify(Stream(file, "litert", LoadOptions(threads=2)))
        assert line["verification"]["rms"] == pytest.approx(here.rms)
        assert line["latency_ns"]["step"]["samples"] == 200
        assert line["settings"]["interleaved_with"] == 2
        assert line["settings"]["threads"] == 2
    assert "pi\nmodel " in result.stdout
    assert all(file.stem in result.stdout for file in models)
    assert_clean(server)


def test_an_address_is_enough(server, models):
    """User, port and key as ssh has them; python3 from the device's PATH; /tmp."""
    user = os.environ.get("USER") or subprocess.check_output(["id", "-un"], text=True).strip()
    result = invoke(models[0], *SHORT, "--host", f"{user}@{HOST}:{server.port}", "--json")
    assert result.exit_code == 0, result.output
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["device"] == f"{user}@{HOST}:{server.port}"
    assert line["valid"]


def test_an_invalid_result_is_kept_and_fails(server, models):
    watch = Watch()
    with pytest.raises(DeviceError) as caught:
        run(device(server), models[:1], (*SHORT, "--percentile", "99.9"), watch)
    assert caught.value.exit_code == 5
    assert "samples" in caught.value.message
    assert [result["valid"] for result in watch.results] == [False]
    assert_clean(server)


def test_models_of_one_name_from_two_folders(server, models, tmp_path):
    other = tmp_path / "other" / models[0].name
    other.parent.mkdir()
    shutil.copy(models[1], other)
    watch = Watch()
    run(device(server), [models[0], other], SHORT, watch)
    assert [result["scheme"] for result in watch.results] == ["int8", "float32"]


# Broken connections and devices


def test_a_cut_connection_costs_nothing(server, models):
    """The connection is cut while the second model is measured: the run there goes on."""
    watch = Watch(on_result=lambda count: server.cut() if count == 1 else None)
    run(device(server), models, PACED, watch)
    assert any("connection lost" in line for line in watch.lines)
    told = [line for line in watch.lines if line.endswith(" %")]
    assert {line.split(":")[0] for line in told} == {file.name for file in models}
    assert len(watch.starts()) == 1
    assert [result["file"] for result in watch.results] == [file.name for file in models]
    assert_clean(server)


def test_a_device_switched_off_costs_the_unfinished_model(server, models):
    """Paced: what was finished is kept, the rest is measured again from its beginning, even
    though the folder is gone as well."""

    def switch_off(count: int) -> None:
        if count == 1:
            server.kill_runs()
            shutil.rmtree(next(server.folder.iterdir()))
            server.cut()

    watch = Watch(switch_off)
    run(device(server), models, PACED, watch)
    assert watch.starts() == ["measuring 2 models", "measuring 1 model"]
    assert [result["file"] for result in watch.results] == [file.name for file in models]
    assert all(result["latency_ns"]["frames"] == 100 for result in watch.results)
    assert_clean(server)


def test_models_side_by_side_are_measured_again_together(server, models):
    """Back to back, the models' ratios are the result: none is measured again alone."""
    watch = Watch()
    killed: list[int] = []

    def report(name: str, text: str) -> None:
        watch.report(name, text)
        if watch.starts() and not killed:
            killed.extend(server.runs())
            server.kill_runs()

    failures = bench_devices({"pi": device(server)}, models, SHORT, watch.keep, report, QUICK)
    assert not failures
    assert killed
    assert watch.starts() == ["measuring 2 models"] * 2
    assert [result["settings"]["interleaved_with"] for result in watch.results] == [2, 2]
    assert_clean(server)


def test_a_device_that_does_not_come_back(server, models):
    """What was finished is kept; what cannot be cleaned up is said."""
    watch = Watch(on_result=lambda _: server.stop())
    with pytest.raises(DeviceError, match="connection lost and not made again"):
        run(device(server), models, PACED, watch)
    assert len(watch.results) == 1
    (left,) = server.folder.iterdir()
    assert str(left) in watch.lines[-1]


def test_a_program_that_is_killed_is_said(server, models):
    """By a signal while its shell lives, as the kernel does when memory is short."""

    def kill_program(name: str, text: str) -> None:
        if text.startswith("measuring 1 model"):
            while True:
                for process in server.runs():
                    if "device.pyz" in Path(f"/proc/{process}/cmdline").read_text().split("\0")[1]:
                        os.kill(process, signal.SIGKILL)
                        return
                time.sleep(0.02)

    failures = bench_devices(
        {"pi": device(server)}, models[:1], PACED, lambda _: None, kill_program, QUICK
    )
    assert "signal 9" in failures["pi"].message
    assert_clean(server)
