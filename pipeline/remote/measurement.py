"""One run of the benchmark on one device, which outlives the connection that started it.

On the device there is one temporary folder::

    edgestep-device.pyz   the program
    0/GRU.tflite ...      the models
    run-1/                a run of the program, its working folder: results.jsonl, output, errors,
                          and a file that is called "pid" while it runs and "exited-CODE" after

The program runs in a session of its own, so that a lost connection does not end it; here the
files are looked at now and then, seldom enough not to disturb what is measured. A run that is
gone without a trace (the device was switched off) is started again: measured back to back, with
all models, because they are only comparable within one run; paced, with those that are missing.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.commands.progress import PROGRESS_VARIABLE
from pipeline.bundle import BUNDLE_NAME
from pipeline.errors import DeviceError
from pipeline.remote.connection import Connection, LostConnectionError, RemoteFileError, connect
from pipeline.remote.inventory import Device

OLDEST_PYTHON = (3, 10)
# What results and messages may need beside the program and the models.
SPARE_KILOBYTES = 256
# How often a run that vanished is started again.
STARTS = 3
# A connection that has lasted this long was a good one: losing it is a new misfortune.
GOOD_CONNECTION_S = 30.0
CLEAN_UP_TIMEOUT_S = 30.0
INVALID = 5

Report = Callable[[str], None]
Keep = Callable[[dict[str, Any]], None]

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


@dataclass(frozen=True)
class Patience:
    """Seconds: between attempts to connect again, one after the other, and between two looks at a
    run, the first and the longest."""

    reconnect: tuple[float, ...] = (1, 2, 4, 8, 16, 32)
    first_look: float = 0.25
    longest_look: float = 5.0


@dataclass(frozen=True)
class Task:
    """What is to be measured: the program and the step models as local files, the options of
    ``bench`` as its command line takes them, and whether each model is measured for itself."""

    program: Path
    models: Sequence[Path]
    options: Sequence[str] = ()
    paced: bool = False


async def measure(
    name: str, device: Device, task: Task, keep: Keep, report: Report, patience: Patience
) -> None:
    """Measure the models on a device and leave nothing there, however it ends.

    Args:
        name: what the device is called in messages.
        keep: gets each result as soon as it is final, once.
        report: gets lines about the progress.

    Raises:
        DeviceError: the device cannot be reached or lacks something, the program failed there, or
            a result is invalid (exit code 5; all results are kept before).
    """
    run = _Run(name, device, task, keep, report, patience)
    delays = iter(patience.reconnect)
    reached = False
    try:
        while True:
            connected = None
            try:
                async with connect(name, device) as connection:
                    connected, reached = time.monotonic(), True
                    await run.go_on(connection)
                    await run.clean_up(connection)
                break
            except RemoteFileError as error:
                raise DeviceError(
                    f"{name}: cannot work in {run.folder} ({error}); "
                    "see whether its disk is full, or name another 'folder' in the inventory"
                ) from error
            except LostConnectionError as error:
                if not reached:
                    raise DeviceError(
                        f"{name}: cannot be reached ({error}); check that it is on, its name and "
                        "that ssh is enabled"
                    ) from error
                if connected and time.monotonic() - connected > GOOD_CONNECTION_S:
                    delays = iter(patience.reconnect)
                delay = next(delays, None)
                if delay is None:
                    raise DeviceError(
                        f"{name}: connection lost and not made again ({error}); run the command "
                        "again when the device answers"
                    ) from error
                report(f"connection lost ({error}); connecting again in {delay:g} s")
                await asyncio.sleep(delay)
    finally:
        if run.leaves_traces:
            await _clean_up_anew(run)
    run.raise_if_invalid()


async def _clean_up_anew(run: _Run) -> None:
    """Clean up over a connection of its own; what cannot be done is reported."""
    try:
        async with connect(run.name, run.device) as connection:
            await asyncio.wait_for(run.clean_up(connection), CLEAN_UP_TIMEOUT_S)
    except (LostConnectionError, RemoteFileError, DeviceError, asyncio.TimeoutError):
        run.report(f"not reached to clean up: {run.folder} is left there, and what runs in it")


class _Run:
    """What is known of one measurement across connections."""

    def __init__(
        self, name: str, device: Device, task: Task, keep: Keep, report: Report, patience: Patience
    ) -> None:
        self.name, self.device, self.task = name, device, task
        self.keep, self.report, self.patience = keep, report, patience
        # Known before it is made, so that it can be removed whenever the connection breaks.
        self.folder = f"{device.folder.rstrip('/')}/edgestep-{secrets.token_hex(8)}"
        self.leaves_traces = False
        self.results: list[dict[str, Any]] = []
        self.starts = 0
        self.lines_taken = 0
        self.said = ""

    async def go_on(self, connection: Connection) -> None:
        """Do what is left to do, until all results are here."""
        if not self.leaves_traces:
            await self._check_python(connection)
        await self._install(connection)
        while True:
            if not self.starts or not await self._is_there(connection):
                await self._start(connection)
            exit_code = await self._follow(connection)
            if exit_code is not None:
                break
            self.report("the run has vanished from the device; starting it again")
        if exit_code not in (0, INVALID) or len(self.results) < len(self.task.models):
            raise await self._failure(connection, exit_code)

    def raise_if_invalid(self) -> None:
        """Raise DeviceError if a result must not be trusted."""
        for result in self.results:
            if not result["valid"]:
                raise DeviceError(
                    f"{self.name}: {result['file']}: {result['invalid_reason']}", INVALID
                )

    async def clean_up(self, connection: Connection) -> None:
        """End what runs in the folder, and remove it."""
        # By working folder instead of by process number, which another process may have by now.
        await connection.run(
            f"cd {_path(self.folder)} 2>/dev/null || exit 0; folder=$(pwd -P); cd /\n"
            'ours() { for p in /proc/[0-9]*; do case "$(readlink $p/cwd 2>/dev/null)" in '
            '"$folder"|"$folder"/*) echo "${p#/proc/}";; esac; done; }\n'
            "for signal in TERM TERM KILL KILL; do\n"
            '  found=$(ours); [ -z "$found" ] && break\n'
            "  kill -$signal $found 2>/dev/null; sleep 1\n"
            "done\n"
            'rm -rf -- "$folder"'
        )
        self.leaves_traces = False

    async def _check_python(self, connection: Connection) -> None:
        python, name = self.device.python, self.name
        done = await connection.run(f"{_path(python)} -c {shlex.quote(_CHECK_PYTHON)}")
        if done.exit_code in (126, 127):
            raise DeviceError(
                f"{name}: there is no '{python}'; install it ('sudo apt install python3 "
                "python3-venv' on a Raspberry Pi) or name one with --python"
            )
        # A shell that greets even programs may have said something before.
        told = re.search(r"^(\d+\.\d+)(\.\d+)\n(\S+)\n((?:\w+\n)*)\Z", done.output, re.M)
        if done.exit_code or not told:
            raise DeviceError(
                f"{name}: '{python}' does not run ({_last_line(done.errors)}); "
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
        self.report(f"Python {version} on {machine}")

    async def _install(self, connection: Connection) -> None:
        """Make the folder and copy what is not there yet."""
        files = {BUNDLE_NAME: self.task.program}
        files.update({_place(index, file): file for index, file in enumerate(self.task.models)})
        self.leaves_traces = True
        folders = " ".join(
            _path(f"{self.folder}/{index}") for index in range(len(self.task.models))
        )
        made = await connection.run(
            f"umask 077 && mkdir -p {folders} && cd {_path(self.folder)} && pwd -P"
        )
        if made.exit_code:
            raise DeviceError(
                f"{self.name}: cannot make a folder in {self.device.folder} "
                f"({_last_line(made.errors)}); name another as 'folder' in the inventory"
            )
        self.folder = made.output.splitlines()[-1]
        missing = {}
        for place, file in files.items():
            there = await connection.sizes(str(Path(self.folder, place).parent)) or {}
            if there.get(Path(place).name) != file.stat().st_size:
                missing[place] = file
        needed = SPARE_KILOBYTES + sum(-(-file.stat().st_size // 1024) for file in missing.values())
        free = await self._free_kilobytes(connection)
        if free is not None and free < needed:
            raise DeviceError(
                f"{self.name}: {self.device.folder} has {free:,} kB free, "
                f"{needed:,} kB are needed; free space there or name another "
                "'folder' in the inventory"
            )
        for place, file in missing.items():
            try:
                await connection.put(file, f"{self.folder}/{place}")
            except RemoteFileError as error:
                raise DeviceError(
                    f"{self.name}: cannot write in {self.device.folder} ({error}); "
                    "free space there or name another 'folder' in the inventory"
                ) from error

    @property
    def _run_folder(self) -> str:
        return f"{self.folder}/run-{self.starts}"

    async def _start(self, connection: Connection) -> None:
        """Start the program with the models whose results are not here yet."""
        if self.starts == STARTS:
            raise DeviceError(
                f"{self.name}: the run was ended {STARTS} times on the device; "
                "see there what ends it (power, memory, a session limit)"
            )
        self.starts += 1
        self.lines_taken = 0
        models = [
            f"../{_place(index, file)}"
            for index, file in enumerate(self.task.models)
            if index >= len(self.results)
        ]
        program = " ".join(
            [
                _path(self.device.python),
                *map(shlex.quote, [f"../{BUNDLE_NAME}", "bench", "--output", "results.jsonl"]),
                *map(shlex.quote, self._options()),
                "--",
                *map(shlex.quote, models),
            ]
        )
        # Renaming works on a full disk too, writing the exit code would not.
        job = (
            "echo $$ > pid; "
            f"{PROGRESS_VARIABLE}=lines {program} > output 2> errors < /dev/null; "
            "mv pid exited-$?"
        )
        folder = shlex.quote(self._run_folder)
        done = await connection.run(
            f"umask 077; mkdir {folder} && cd {folder} || exit; "
            f"setsid sh -c {shlex.quote(job)} > /dev/null 2>&1 < /dev/null &\n"
            "i=0; while [ ! -s pid ] && ! ls exited-* > /dev/null 2>&1 && [ $i -lt 10 ]; "
            "do i=$((i+1)); sleep 0.2; done"
        )
        if done.exit_code:
            raise DeviceError(f"{self.name}: cannot start there ({_last_line(done.errors)})")
        self.report(f"measuring {len(models)} model{'s' * (len(models) > 1)}")

    def _options(self) -> list[str]:
        """The device's own options, unless the command line says otherwise."""
        own: list[tuple[str, Any]] = [
            ("--backend", self.device.backend),
            ("--threads", self.device.threads),
            *(("--cpu", cpu) for cpu in self.device.cpus),
        ]
        options = [
            text
            for option, value in own
            if value is not None and option not in self.task.options
            for text in (option, str(value))
        ]
        return [*options, *self.task.options]

    async def _is_there(self, connection: Connection) -> bool:
        """Whether the last run has ended by itself or still runs."""
        names = await connection.sizes(self._run_folder) or {}
        if _exit_code(names) is not None:
            return True
        # A number alone may belong to another process after a restart of the device.
        number = (await connection.read(f"{self._run_folder}/pid")).decode().strip()
        if number and await connection.link(f"/proc/{number}/cwd") == self._run_folder:
            return True
        # It may have ended since the first look.
        return _exit_code(await connection.sizes(self._run_folder) or {}) is not None

    async def _follow(self, connection: Connection) -> int | None:
        """Take results until the run ends; its exit code, or None if it has vanished."""
        delay = self.patience.first_look
        seen: dict[str, int] = {}
        while True:
            there = await self._is_there(connection)
            names = await connection.sizes(self._run_folder) or {}
            exit_code = _exit_code(names)
            if names != seen:
                seen = names
                if self.task.paced or exit_code is not None:
                    await self._take_results(connection)
                await self._tell_progress(connection)
            if exit_code is not None or not there:
                return exit_code
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.patience.longest_look)

    async def _take_results(self, connection: Connection) -> None:
        content = await connection.read(f"{self._run_folder}/results.jsonl")
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        for line in lines[self.lines_taken :]:
            self.lines_taken += 1
            try:
                result = {**json.loads(line), "device": self.name}
            except (ValueError, TypeError) as error:
                raise DeviceError(f"{self.name}: sent a damaged result ({error})", 3) from error
            self.results.append(result)
            self.keep(result)

    async def _tell_progress(self, connection: Connection) -> None:
        told = re.findall(
            r"^(.+: \d+ ?%)$", (await connection.read(f"{self._run_folder}/errors")).decode(), re.M
        )
        if told and told[-1] != self.said:
            self.said = told[-1]
            self.report(self.said)

    async def _free_kilobytes(self, connection: Connection) -> int | None:
        """Space on the folder's disk, or None where df does not tell."""
        disk = await connection.run(f"df -Pk {shlex.quote(self.folder)}")
        free = re.search(r"\s(\d+)\s+\d+%\s", disk.output)
        return int(free[1]) if free else None

    async def _failure(self, connection: Connection, exit_code: int) -> DeviceError:
        """Why the program failed, as it said itself if it could."""
        errors = (await connection.read(f"{self._run_folder}/errors")).decode(errors="replace")
        said = re.findall(r"^Error: (.+)$", errors, re.M)
        if await self._free_kilobytes(connection) == 0:
            return DeviceError(
                f"{self.name}: the disk of {self.device.folder} is full; "
                "free space there or name another 'folder' in the inventory",
                1,
            )
        if said:
            # The models lie in folders of ours there, of which the user knows nothing.
            told = re.sub(r"\.\./(\d+/)?", "", said[-1])
            return DeviceError(f"{self.name}: {told}", exit_code or 1)
        if exit_code > 128:
            return DeviceError(
                f"{self.name}: the program was ended there by signal {exit_code - 128}; "
                "9 is most often too little memory",
                1,
            )
        return DeviceError(
            f"{self.name}: the program failed there with exit code {exit_code} "
            f"({_last_line(errors)})",
            exit_code or 1,
        )


def _place(index: int, file: Path) -> str:
    """Where a model goes in the folder: files of one name may come from different folders."""
    return f"{index}/{file.name}"


def _exit_code(names: dict[str, int]) -> int | None:
    return next((int(name[7:]) for name in names if name.startswith("exited-")), None)


def _path(path: str) -> str:
    """A path or command, quoted for the shell, with a leading ~/ as the user's folder there."""
    return '"$HOME"/' + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word")
