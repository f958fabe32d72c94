"""The benchmark over ssh, against a real OpenSSH server on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import click
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from device_runner.backends.backend import LoadOptions
from device_runner.stream import Stream
from device_runner.verify import verify
from pipeline.cli import main
from pipeline.errors import DeviceError
from pipeline.remote import bench
from pipeline.remote.bench import bench_devices
from pipeline.remote.inventory import Device
from pipeline.remote.remote_run import Patience
from tests.pipeline.ssh_server import HOST, SSHD, SYSTEM_PATH, SshServer, start_ssh_server

pytestmark = pytest.mark.skipif(
    not SSHD, reason="sshd is not here; 'make debian-packages' installs openssh-server"
)

SHORT = ("--steps", "200", "--rounds", "2", "--warmup", "0", "--backend", "litert")
PACED = ("--paced", "--period", "0.01", "--duration", "1", "--backend", "litert")
QUICK = Patience(reconnect=(0.1, 0.2, 0.4), first_look=0.05, longest_look=0.2)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def user_key(tmp_path, monkeypatch):
    """The user's key, in the ~/.ssh of a home of the test's own."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    key.write_private_key(folder / "id_ed25519")
    (folder / "id_ed25519").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return key


@pytest.fixture
def serve(tmp_path, user_key) -> Iterator[Callable[..., SshServer]]:
    """Starts servers whose host keys are in ~/.ssh/known_hosts."""
    running: list[SshServer] = []

    def start(**settings: str) -> SshServer:
        server = start_ssh_server(tmp_path / f"server-{len(running)}", user_key, **settings)
        running.append(server)
        with known_hosts().open("a") as file:
            file.write(server.known_hosts_line)
        return server

    yield start
    for server in running:
        server.kill_runs()
        server.stop()


@pytest.fixture
def server(serve) -> SshServer:
    return serve()


@pytest.fixture(scope="session")
def models(step_models) -> list[Path]:
    """Two real step models."""
    return [step_models("gru", "int8"), step_models("gru", "float32")]


def known_hosts() -> Path:
    return Path.home() / ".ssh" / "known_hosts"


def device(server: SshServer, **fields) -> Device:
    return Device(host=HOST, port=server.port, folder=str(server.folder), **fields)


def inventory(path: Path, **devices: Device) -> Path:
    """An inventory file of these devices."""
    lines = []
    for name, one in devices.items():
        lines.append(f"[devices.{name}]")
        facts = one.model_dump(mode="json", exclude_defaults=True)
        lines += [f"{key} = {json.dumps(value)}" for key, value in facts.items()]
    path.write_text("\n".join(lines))
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def error_line(result: Result) -> str:
    assert isinstance(result.exception, SystemExit), f"a traceback: {result.exception!r}"
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error:"))
    assert result.stderr.splitlines()[-1] == line
    return line


class Watch:
    """Keeps what a run gives, and does something when it gives it."""

    def __init__(self, on_result: Callable[[int], None] = lambda _: None) -> None:
        self.results: list[dict] = []
        self.lines: list[str] = []
        self.on_result = on_result

    def keep(self, result: dict) -> None:
        self.results.append(result)
        self.on_result(len(self.results))

    def report(self, name: str, text: str) -> None:
        self.lines.append(text)

    def starts(self) -> list[str]:
        return [line for line in self.lines if line.startswith("measuring ") and "model" in line]


def run(one: Device, files: list[Path], options: tuple[str, ...], watch: Watch) -> None:
    """Measure on one device in this process; raises its failure."""
    failures = bench_devices({"pi": one}, files, options, watch.keep, watch.report, QUICK)
    for failure in failures.values():
        raise failure


def assert_clean(server: SshServer) -> None:
    assert list(server.folder.iterdir()) == []
    assert server.runs() == []


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


# Doors that stay closed


@pytest.mark.parametrize("wrong", ["changed", "unknown", "switched off in ~/.ssh/config"])
def test_a_host_key_that_is_not_known_is_refused(wrong, server, models):
    if wrong == "changed":
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        known_hosts().write_text(f"[{HOST}]:{server.port} {other}")
    else:
        known_hosts().write_text("")
    if wrong.startswith("switched off"):
        (known_hosts().parent / "config").write_text("Host *\n  UserKnownHostsFile none\n")
    before = known_hosts().read_text()
    result = invoke(models[0], *SHORT, "--host", f"{HOST}:{server.port}")
    assert result.exit_code == 4
    assert "host key" in error_line(result)
    assert known_hosts().read_text() == before
    assert_clean(server)


def test_keys_that_are_refused(server, models):
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(
        Path.home() / ".ssh" / "id_ed25519"
    )
    result = invoke(models[0], *SHORT, "--host", f"{HOST}:{server.port}")
    assert result.exit_code == 4
    assert "refuses your keys" in error_line(result)


def test_a_key_file_with_a_passphrase_or_none(server, models, tmp_path):
    with pytest.raises(DeviceError, match="no such file"):
        run(device(server, key=tmp_path / "none"), models, SHORT, Watch())
    locked = tmp_path / "locked"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a secret", "-f", locked], check=True
    )
    with pytest.raises(DeviceError, match="ssh-agent"):
        run(device(server, key=locked), models, SHORT, Watch())


def test_a_device_that_is_not_there(server, models):
    server.stop()
    result = invoke(models[0], *SHORT, "--host", f"{HOST}:{server.port}")
    assert result.exit_code == 4
    assert "cannot be reached" in error_line(result)


def test_a_device_without_sftp(serve, models):
    server = serve(Subsystem="")
    with pytest.raises(DeviceError, match="openssh-sftp-server"):
        run(device(server), models, SHORT, Watch())


# What a device lacks


def test_a_device_without_python(serve, models, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "mkdir", "df", "tail", "rm", "readlink", "ls", "setsid", "mv", "sleep"):
        (programs / name).symlink_to(shutil.which(name, path=SYSTEM_PATH))
    server = serve(PATH=str(programs))
    with pytest.raises(DeviceError, match="there is no 'python3'") as caught:
        run(device(server), models, SHORT, Watch())
    assert caught.value.exit_code == 4
    assert_clean(server)


def test_a_device_whose_python_is_too_old(server, models):
    """Played by a script that answers as Python 3.7 does."""
    fake = server.home / "fake-old-python"
    fake.write_text("#!/bin/sh\necho 3.7.3\necho aarch64\n")
    fake.chmod(0o755)
    with pytest.raises(DeviceError, match=r"Python 3\.7\.3, 3\.10 or newer is needed"):
        run(device(server, python="~/fake-old-python"), models, SHORT, Watch())
    assert_clean(server)


@pytest.fixture
def bare_python(server) -> Callable[..., str]:
    """Makes an environment on the device that has these packages only; gives its Python."""

    def make(*packages: str) -> str:
        folder = server.home / "bare"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (site,) = folder.glob("lib/python3*/site-packages")
        for package in packages:
            (installed,) = sys.modules[package].__path__
            (site / package).symlink_to(installed)
            libraries = Path(f"{installed}.libs")
            if libraries.exists():
                (site / libraries.name).symlink_to(libraries)
        return "~/bare/bin/python"

    return make


def test_a_device_without_numpy_and_click(server, bare_python, models):
    with pytest.raises(DeviceError, match=r"no numpy and no click.*pip install") as caught:
        run(device(server, python=bare_python()), models, SHORT, Watch())
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("options", [(), ("--backend", "litert")])
def test_a_device_without_a_runtime(options, server, bare_python, models):
    assert np.__version__
    assert click.Command
    with pytest.raises(DeviceError, match="pip install ai-edge-litert") as caught:
        run(device(server, python=bare_python("numpy", "click")), models, options, Watch())
    assert caught.value.exit_code == 4
    assert len(caught.value.message.splitlines()) == 1
    assert_clean(server)


@pytest.fixture
def small_disk(server) -> Iterator[Path]:
    """A disk of 1 MB on the device: a tmpfs, which only root may mount."""
    disk = server.root / "small-disk"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_without_space(server, small_disk, models):
    (small_disk / "filler").write_bytes(bytes(900_000))
    one = device(server).model_copy(update={"folder": str(small_disk)})
    with pytest.raises(DeviceError, match="kB free"):
        run(one, models, SHORT, Watch())
    assert [file.name for file in small_disk.iterdir()] == ["filler"]


def test_a_disk_that_fills_up_spares_finished_results(server, small_disk, models):
    def fill(_: int) -> None:
        with (
            contextlib.suppress(OSError),
            (small_disk / "filler").open("wb", buffering=0) as filler,
        ):
            while filler.write(bytes(4096)):
                pass

    one = device(server).model_copy(update={"folder": str(small_disk)})
    watch = Watch(fill)
    with pytest.raises(DeviceError, match="is full"):
        run(one, models, PACED, watch)
    assert [result["file"] for result in watch.results] == [models[0].name]
    assert [file.name for file in small_disk.iterdir()] == ["filler"]


# Several devices, and the command


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
    """An option and its value, if it has one, together."""
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
