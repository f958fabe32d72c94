"""A PostgreSQL server and a Ray cluster of two nodes, started for a test and ended after it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
USER = "edgestep"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_somebody(folder: Path) -> dict[str, object]:
    """PostgreSQL refuses to run as root: arguments to run as somebody else, who gets the folder."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a server with its data in a folder; the URL of its database."""
    if not (POSTGRESQL / "initdb").exists():
        pytest.skip("needs PostgreSQL: apt-get install postgresql-15")
    # Nobody else may enter the folders of a test.
    data = Path("/tmp") / f"edgestep-postgresql-{os.getpid()}"
    data.mkdir(mode=0o700)
    somebody = _as_somebody(data)
    port = free_port()
    made = subprocess.run(
        [POSTGRESQL / "initdb", "-D", data / "db", "-U", USER, "--auth=trust", "-E", "UTF8",
         "--no-sync"],
        capture_output=True, text=True, cwd="/", **somebody,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    server = subprocess.Popen(
        [POSTGRESQL / "postgres", "-D", data / "db", "-p", str(port), "-k", data,
         "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **somebody,
    )  # fmt: skip
    try:
        ready = [POSTGRESQL / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
        for _ in range(200):
            if subprocess.run(ready, cwd="/").returncode == 0:
                break
            time.sleep(0.1)
        yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        # A fast shutdown: others would wait until every client has gone.
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


class RayNodes:
    """A head and a second node, each a process with a scheduler of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.head = self._start("--head", "--port", str(self.port), "--include-dashboard=false")
        self._wait_for(self.head)

    def add(self) -> subprocess.Popen[bytes]:
        """Start a node more."""
        return self._start("--address", self.address)

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--num-cpus", "1",
             "--object-store-memory", str(100 * 2**20), "--block", "--disable-usage-stats"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(600):
            assert process.poll() is None, "the Ray node has ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the Ray cluster does not answer")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a node with everything in it, as a machine that loses its power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(30)

    def close(self) -> None:
        for process in self.processes:
            self.kill(process)
