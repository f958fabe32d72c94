"""Doors that stay closed and devices that lack something: each is said in one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import click
import numpy as np
import pytest

from device_runner.backends.native_library import compiled_files
from pipeline.errors import DeviceError
from tests.pipeline.remote.device_runs import (
    PACED,
    SHORT,
    Watch,
    assert_clean,
    device,
    error_line,
    invoke,
    known_hosts,
    needs_sshd,
    run,
)
from tests.pipeline.remote.ssh_server import HOST, SYSTEM_PATH

pytestmark = needs_sshd


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


def test_a_device_without_the_runtime_that_is_asked_for(server, bare_python, models):
    assert np.__version__
    assert click.Command
    litert = ("--backend", "litert")
    with pytest.raises(DeviceError, match="pip install ai-edge-litert") as caught:
        run(device(server, python=bare_python("numpy", "click")), models, litert, Watch())
    assert caught.value.exit_code == 4
    assert len(caught.value.message.splitlines()) == 1
    assert_clean(server)


@pytest.mark.skipif(not compiled_files(), reason="libedgestep is not compiled")
def test_a_device_without_a_runtime_steps_with_the_library_that_is_carried(
    server, bare_python, models
):
    watch = Watch()
    short = ("--steps", "200", "--rounds", "2", "--warmup", "0")
    run(device(server, python=bare_python("numpy", "click")), models[:1], short, watch)
    assert [result["backend"] for result in watch.results] == ["native"]
    assert_clean(server)


@pytest.fixture
def small_disk(server) -> Iterator[Path]:
    """A disk of 4 MB on the device: a tmpfs, which only root may mount."""
    disk = server.root / "small-disk"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_without_space(server, small_disk, models):
    (small_disk / "filler").write_bytes(bytes(3_900_000))
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
