"""Start a run of the benchmark on a device, follow it, and take its results."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runner.commands.progress import PROGRESS_VARIABLE
from device_runner.errors import one_line
from device_runner.printable import printable
from pipeline.bundle import BUNDLE_NAME
from pipeline.errors import DeviceError
from pipeline.remote.connection import Connection
from pipeline.remote.device_answers import (
    LONGEST_RESULT_BYTES,
    exit_code,
    process_number,
    read_result,
)
from pipeline.remote.device_folder import DeviceFolder, last_line, quoted_path
from pipeline.remote.inventory import Device

# How often a run is started, if it vanishes.
STARTS = 3
INVALID = 5
# How much of the end of the program's messages is read.
MESSAGE_BYTES = 64 * 1024

Report = Callable[[str], None]
Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    That is between attempts to connect again, one after the other, and between two looks at a run,
    the first and the longest.
    """

    reconnect: tuple[float, ...] = (1, 2, 4, 8, 16, 32)
    first_look: float = 0.25
    longest_look: float = 5.0


@dataclass(frozen=True)
class Job:
    """What is to be measured.

    It names the program and the step models as local files, the options of ``bench`` as on its
    command line, and whether each model is measured on its own.
    """

    program: Path
    models: Sequence[Path]
    options: Sequence[str] = ()
    paced: bool = False


class RemoteRun:
    """What is known about one measurement, across connections.

    Args:
        name: what the device is called in messages and results.
        keep: receives each result once, as soon as it is final.
        report: receives lines about the progress.
    """

    def __init__(
        self, name: str, device: Device, job: Job, keep: Keep, report: Report, patience: Patience
    ) -> None:
        self.name, self.device, self.job = name, device, job
        self.keep, self.report, self.patience = keep, report, patience
        self.folder = DeviceFolder(name, device)
        self.results: list[dict[str, Any]] = []
        self.starts = 0
        self.lines_taken = 0
        self.said = ""

    async def go_on(self, connection: Connection) -> None:
        """Do what is left to do, until all results have arrived."""
        if not self.folder.leaves_traces:
            self.report(await self.folder.check_python(connection))
        files = {BUNDLE_NAME: self.job.program}
        files.update({_place(index, file): file for index, file in enumerate(self.job.models)})
        await self.folder.install(connection, files)
        while True:
            if not self.starts or not await self._is_there(connection):
                await self._start(connection)
            ended = await self._follow(connection)
            if ended is not None:
                break
            self.report("the run has vanished from the device; starting it again")
        if ended not in (0, INVALID) or len(self.results) < len(self.job.models):
            raise await self._failure(connection, ended)

    def raise_if_invalid(self) -> None:
        """Raise DeviceError if a result must not be trusted."""
        for result in self.results:
            if not result["valid"]:
                raise DeviceError(
                    f"{self.name}: {printable(result['file'])}: "
                    f"{printable(result['invalid_reason'])}",
                    INVALID,
                )

    @property
    def _run_folder(self) -> str:
        return f"{self.folder.path}/run-{self.starts}"

    async def _start(self, connection: Connection) -> None:
        """Start the program with the models whose results have not arrived."""
        if self.starts == STARTS:
            raise DeviceError(
                f"{self.name}: the run was ended {STARTS} times on the device; "
                "see there what ends it (power, memory, a session limit)"
            )
        self.starts += 1
        self.lines_taken = 0
        models = [
            f"../{_place(index, file)}"
            for index, file in enumerate(self.job.models)
            if index >= len(self.results)
        ]
        program = " ".join(
            [
                quoted_path(self.device.python),
                *map(shlex.quote, [f"../{BUNDLE_NAME}", "bench", "--output", "results.jsonl"]),
                *map(shlex.quote, self._options()),
                "--",
                *map(shlex.quote, models),
            ]
        )
        # Renaming also works on a full disk; writing the exit code would not.
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
            raise DeviceError(f"{self.name}: cannot start there ({last_line(done.errors)})")
        self.report(f"measuring {len(models)} model{'s' * (len(models) > 1)}")

    def _options(self) -> list[str]:
        """Return the device's own options, unless the command line says otherwise."""
        own: list[tuple[str, Any]] = [
            ("--backend", self.device.backend),
            ("--threads", self.device.threads),
            *(("--cpu", cpu) for cpu in self.device.cpus),
        ]
        options = [
            text
            for option, value in own
            if value is not None and option not in self.job.options
            for text in (option, str(value))
        ]
        return [*options, *self.job.options]

    async def _is_there(self, connection: Connection) -> bool:
        """Tell whether the last run has ended by itself or still runs."""
        names = await connection.sizes(self._run_folder) or {}
        if exit_code(names) is not None:
            return True
        # After a restart of the device, the number may belong to another process.
        number = process_number(await connection.read(f"{self._run_folder}/pid"))
        if number and await connection.link(f"/proc/{number}/cwd") == self._run_folder:
            return True
        # The run may have ended since the first look.
        return exit_code(await connection.sizes(self._run_folder) or {}) is not None

    async def _follow(self, connection: Connection) -> int | None:
        """Take results until the run ends; return its exit code, or None if it has vanished."""
        delay = self.patience.first_look
        seen: dict[str, int] = {}
        while True:
            there = await self._is_there(connection)
            names = await connection.sizes(self._run_folder) or {}
            ended = exit_code(names)
            if names != seen:
                seen = names
                if self.job.paced or ended is not None:
                    await self._take_results(connection)
                await self._tell_progress(connection)
            if ended is not None or not there:
                return ended
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.patience.longest_look)

    async def _take_results(self, connection: Connection) -> None:
        limit = LONGEST_RESULT_BYTES * len(self.job.models)
        content = await connection.read(f"{self._run_folder}/results.jsonl", limit)
        if len(content) == limit:
            raise DeviceError(
                f"{self.name}: sent more than {limit >> 20} MB of results, which are not ours", 3
            )
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        for line in lines[self.lines_taken :]:
            self.lines_taken += 1
            if len(self.results) == len(self.job.models):
                raise DeviceError(f"{self.name}: sent more results than there are models", 3)
            try:
                result = {**read_result(line), "device": self.name}
            except ValueError as error:
                raise DeviceError(
                    f"{self.name}: sent a damaged result ({one_line(error)}); run it again", 3
                ) from error
            self.results.append(result)
            self.keep(result)

    async def _tell_progress(self, connection: Connection) -> None:
        told = re.findall(r"^(.{1,300}: \d+ ?%)$", await self._messages(connection), re.M)
        if told and told[-1] != self.said:
            self.said = printable(told[-1])
            self.report(self.said)

    async def _messages(self, connection: Connection) -> str:
        """Return the end of what the program has written to its standard error."""
        path = f"{self._run_folder}/errors"
        size = (await connection.sizes(self._run_folder) or {}).get("errors", 0)
        start = max(0, size - MESSAGE_BYTES)
        return (await connection.read(path, MESSAGE_BYTES, start)).decode(errors="replace")

    async def _failure(self, connection: Connection, ended: int) -> DeviceError:
        """Say why the program failed, in its own words if it had any."""
        errors = await self._messages(connection)
        said = re.findall(r"^Error: (.+)$", errors, re.M)
        if await self.folder.free_kilobytes(connection) == 0:
            return DeviceError(
                f"{self.name}: the disk of {self.device.folder} is full; "
                "free space there or name another 'folder' in the inventory",
                1,
            )
        if said:
            # The user does not know our folders on the device, where the models are.
            told = re.sub(r"\.\./(\d+/)?", "", printable(said[-1], 500))
            return DeviceError(f"{self.name}: {told}", ended or 1)
        if ended > 128:
            return DeviceError(
                f"{self.name}: the program was ended there by signal {ended - 128}; "
                "9 is most often too little memory",
                1,
            )
        return DeviceError(
            f"{self.name}: the program failed there with exit code {ended} ({last_line(errors)})",
            ended or 1,
        )


def _place(index: int, file: Path) -> str:
    """Return a model's place in the folder: files of one name may come from different folders."""
    return f"{index}/{file.name}"
