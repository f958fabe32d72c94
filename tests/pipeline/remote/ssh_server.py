"""A real OpenSSH server on loopback with keys of its own, as the device that tests connect to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SFTP_SERVER = "internal-sftp"
HOST = "127.0.0.1"
SYSTEM_PATH = "/usr/bin:/bin"


@dataclass
class SshServer:
    """A running server. ``folder`` is where devices of the tests make their temporary folders;
    ``home`` is the user's folder on the device."""

    root: Path
    port: int
    host_key: asyncssh.SSHKey
    process: subprocess.Popen = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.root / "device-tmp"

    @property
    def home(self) -> Path:
        return self.root / "device-home"

    @property
    def known_hosts_line(self) -> str:
        public = self.host_key.export_public_key().decode().strip()
        return f"[{HOST}]:{self.port} {public}\n"

    def cut(self) -> None:
        """Kill the processes that serve the open connections, as when a link breaks."""
        _kill(self._sessions())

    def runs(self) -> list[int]:
        """Processes whose working folder is in ``folder``."""
        return [
            int(cwd.parent.name)
            for cwd in Path("/proc").glob("[0-9]*/cwd")
            if _link(cwd).startswith(f"{self.folder}/")
        ]

    def kill_runs(self) -> None:
        """Kill what runs there without a trace, as when the device is switched off."""
        _kill(self.runs())

    def stop(self) -> None:
        self.cut()
        self.process.terminate()
        self.process.wait(10)

    def _sessions(self) -> list[int]:
        parents = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if name.startswith("sshd"):
                parents[int(status.parent.name)] = int(rest.split()[1])
        found = [self.process.pid]
        for parent in found:
            found += [child for child, of in parents.items() if of == parent]
        return found[1:]


def start_ssh_server(root: Path, user_key: asyncssh.SSHKey, **settings: str) -> SshServer:
    """Start a server under ``root`` that lets ``user_key`` in as the current user.

    ``settings`` are lines of its configuration; PATH and HOME are those of its sessions.
    """
    assert SSHD
    for folder in (root / "device-tmp", root / "device-home"):
        folder.mkdir(parents=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # an sshd of root refuses without
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(root / "host_key")
    (root / "host_key").chmod(0o600)
    user_key.write_public_key(root / "authorized_keys")
    path = settings.pop("PATH", f"{Path(sys.executable).parent}:{SYSTEM_PATH}")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    lines = {
        "ListenAddress": HOST,
        "Port": port,
        "HostKey": root / "host_key",
        "AuthorizedKeysFile": root / "authorized_keys",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # the tests' folders may lie in one that all may write to
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "SetEnv": f'"PATH={path}" "HOME={root / "device-home"}"',
        "Subsystem": f"sftp {SFTP_SERVER}",
        **settings,
    }
    (root / "sshd_config").write_text(
        "".join(f"{name} {value}\n" for name, value in lines.items() if value)
    )
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", root / "sshd_config"],
        stdout=subprocess.DEVNULL,
        stderr=(root / "sshd.log").open("w"),
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            break
        except OSError:
            assert process.poll() is None, (root / "sshd.log").read_text()
            assert time.monotonic() < deadline, "sshd does not answer"
            time.sleep(0.05)
    return SshServer(root, port, host_key, process)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _kill(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # it may end by itself meanwhile
            os.kill(process, signal.SIGKILL)
