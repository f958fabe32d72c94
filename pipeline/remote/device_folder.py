"""The temporary folder on a device, for the program and the models."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from device_runner.printable import printable
from pipeline.errors import DeviceError
from pipeline.remote.connection import Connection, RemoteFileError
from pipeline.remote.inventory import Device

OLDEST_PYTHON = (3, 10)
# Room for results and messages besides the program and the models.
SPARE_KILOBYTES = 256

_CHECK_PYTHON = """
import platform, sys
print("%d.%d.%d" % sys.version_info[:3])
print(platform.machine())
for name in ("numpy", "click"):
    try:
        __import__(name)
    except Exception:
        print(name)
"""


class DeviceFolder:
    """A folder of ours on a device, from before it is made until it is removed.

    Args:
        name: what the device is called in messages.
    """

    def __init__(self, name: str, device: Device) -> None:
        self.name, self.device = name, device
        # The path is known before the folder is made, so that it can always be removed.
        self.path = f"{device.folder.rstrip('/')}/edgestep-{secrets.token_hex(8)}"
        self.leaves_traces = False

    async def check_python(self, connection: Connection) -> str:
        """Describe the device's Python in a few words; DeviceError if it cannot be used."""
        python, name = self.device.python, self.name
        done = await connection.run(f"{quoted_path(python)} -c {shlex.quote(_CHECK_PYTHON)}")
        if done.exit_code in (126, 127):
            raise DeviceError(
                f"{name}: there is no '{python}'; install it ('sudo apt install python3 "
                "python3-venv' on a Raspberry Pi) or name one with --python"
            )
        # A shell may print a greeting first.
        told = re.search(r"^(\d+\.\d+)(\.\d+)\n(\S+)\n((?:\w+\n)*)\Z", done.output, re.M)
        if done.exit_code or not told:
            raise DeviceError(
                f"{name}: '{python}' does not run ({last_line(done.errors)}); "
                "name another with --python"
            )
        version, machine, missing = told[1] + told[2], told[3], told[4].split()
        if tuple(map(int, told[1].split("."))) < OLDEST_PYTHON:
            needed = ".".join(map(str, OLDEST_PYTHON))
            raise DeviceError(
                f"{name}: '{python}' is Python {version}, {needed} or newer is needed; "
                "install one and name it with --python"
            )
        if missing:
            raise DeviceError(
                f"{name}: Python {version} there has no {' and no '.join(missing)}; do "
                "'python3 -m venv ~/edgestep && ~/edgestep/bin/pip install numpy click "
                "ai-edge-litert' there and add --python '~/edgestep/bin/python'"
            )
        return f"Python {version} on {printable(machine, 40)}"

    async def install(self, connection: Connection, files: Mapping[str, Path]) -> None:
        """Make the folder and copy the missing files.

        Args:
            files: local files, by the path within the folder.
        """
        self.leaves_traces = True
        await self._make(connection, {str(Path(place).parent) for place in files})
        missing = {}
        for place, file in files.items():
            there = await connection.sizes(str(Path(self.path, place).parent)) or {}
            if there.get(Path(place).name) != file.stat().st_size:
                missing[place] = file
        needed = SPARE_KILOBYTES + sum(-(-file.stat().st_size // 1024) for file in missing.values())
        free = await self.free_kilobytes(connection)
        if free is not None and free < needed:
            raise DeviceError(
                f"{self.name}: {self.device.folder} has {free:,} kB free, "
                f"{needed:,} kB are needed; free space there or name another "
                "'folder' in the inventory"
            )
        for place, file in missing.items():
            try:
                await connection.put(file, f"{self.path}/{place}")
            except RemoteFileError as error:
                raise DeviceError(
                    f"{self.name}: cannot write in {self.device.folder} ({error}); "
                    "free space there or name another 'folder' in the inventory"
                ) from error

    async def _make(self, connection: Connection, inner: set[str]) -> None:
        folders = " ".join(quoted_path(f"{self.path}/{place}") for place in sorted(inner - {"."}))
        made = await connection.run(
            f"umask 077 && mkdir -p {folders} && cd {quoted_path(self.path)} && pwd -P"
        )
        if made.exit_code:
            raise DeviceError(
                f"{self.name}: cannot make a folder in {self.device.folder} "
                f"({last_line(made.errors)}); name another as 'folder' in the inventory"
            )
        # A login shell may print a greeting first.
        path = (made.output.splitlines() or [""])[-1]
        if not path.startswith("/") or Path(path).name != Path(self.path).name:
            raise DeviceError(
                f"{self.name}: it does not tell where its folder is, but "
                f"'{printable(path, 100)}'; see what its shell prints at login"
            )
        self.path = path

    async def clean_up(self, connection: Connection) -> None:
        """End the programs that run in the folder, and remove it."""
        # Found by working folder: another process may have the old process number by now.
        await connection.run(
            f"cd {quoted_path(self.path)} 2>/dev/null || exit 0; folder=$(pwd -P); cd /\n"
            'ours() { for p in /proc/[0-9]*; do case "$(readlink $p/cwd 2>/dev/null)" in '
            '"$folder"|"$folder"/*) echo "${p#/proc/}";; esac; done; }\n'
            "for signal in TERM TERM KILL KILL; do\n"
            '  found=$(ours); [ -z "$found" ] && break\n'
            "  kill -$signal $found 2>/dev/null; sleep 1\n"
            "done\n"
            'rm -rf -- "$folder"'
        )
        self.leaves_traces = False

    async def free_kilobytes(self, connection: Connection) -> int | None:
        """Return the free space on the folder's disk, or None if df does not tell."""
        disk = await connection.run(f"df -Pk {shlex.quote(self.path)}")
        free = re.search(r"\s(\d+)\s+\d+%\s", disk.output)
        return int(free[1]) if free else None


def quoted_path(path: str) -> str:
    """Quote a path or command for the shell; a leading ~/ is the user's folder there."""
    return '"$HOME"/' + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)


def last_line(text: str) -> str:
    """Return the last line that a program printed."""
    lines = (printable(line, 300) for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "no word")
