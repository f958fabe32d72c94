"""Runs of the benchmark on a server of the tests: their settings, what they report and leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.remote.bench import bench_devices
from pipeline.remote.inventory import Device
from pipeline.remote.remote_run import Patience
from tests.pipeline.remote.ssh_server import HOST, SSHD, SshServer

needs_sshd = pytest.mark.skipif(
    not SSHD, reason="sshd is not here; 'make debian-packages' installs openssh-server"
)

SHORT = ("--steps", "200", "--rounds", "2", "--warmup", "0", "--backend", "litert")
PACED = ("--paced", "--period", "0.01", "--duration", "1", "--backend", "litert")
QUICK = Patience(reconnect=(0.1, 0.2, 0.4), first_look=0.05, longest_look=0.2)
REPOSITORY = Path(__file__).parents[3]


def known_hosts() -> Path:
    return Path.home() / ".ssh" / "known_hosts"


def device(server: SshServer, **fields) -> Device:
    return Device(host=HOST, port=server.port, folder=str(server.folder), **fields)


def inventory(path: Path, **devices: Device) -> Path:
    """Make an inventory file of these devices."""
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
