"""Devices that are SSH servers on loopback, and the models measured on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.pipeline.remote.device_runs import known_hosts
from tests.pipeline.remote.ssh_server import SshServer, start_ssh_server


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
