"""A group of commands that imports them when they are used and shows errors in one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from device_runner.commands import CommandEntry
from device_runner.errors import DeviceRunnerError, did_you_mean

DISK_ERRORS = {
    errno.ENOSPC: "free space there or choose another folder",
    errno.EDQUOT: "free space there or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that is not read-only",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.ENOENT: "make its folder first or choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file is in the way; choose another folder",
    errno.EISDIR: "a folder is in the way; choose another name",
    errno.ENOTEMPTY: "a folder is in the way; choose another name",
}
# What the whole machine or process has run out of.
SYSTEM_ERRORS = {
    errno.EAGAIN: "this machine has no processes left for that; end other programs, then try again",
    errno.ENOMEM: "this machine has no memory left for that; end other programs, or give less data",
    errno.EMFILE: "this process has too many files open; allow more with 'ulimit -n'",
    errno.ENFILE: "this machine has too many files open; end other programs, then try again",
}
INTERRUPTED_EXIT_CODE = 130
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class CommandGroup(click.Group):
    """A click group of listed commands that answers errors, full disks and Ctrl-C in one line.

    Args:
        entries: the commands by name, in the order of the help, which shows their sections and
            purposes. None is imported before it is used.
        interrupted: what Ctrl-C is answered with.
    """

    def __init__(
        self,
        *args: Any,
        entries: Mapping[str, CommandEntry],
        interrupted: str = "Interrupted: nothing was written; run the command again.",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.interrupted = interrupted

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.entries:
            return None
        module, _, function = self.entries[cmd_name].implementation.rpartition(".")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # Click suggests only commands that are imported: none.
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{name}'{did_you_mean(name, self.entries) or '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.entries))
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name.ljust(width), entry.purpose)
                        for name, entry in self.entries.items()
                        if entry.section == section
                    ]
                )

    def invoke(self, ctx: click.Context) -> Any:
        with contextlib.suppress(AttributeError, ValueError):
            if sys.stdout.errors == "strict":  # a terminal that does not know all letters
                sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            from device_runner.printable import (
                printable,
            )  # a start costs nothing that is not needed

            # It may quote a name from a file, a device or a recipe.
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except MemoryError as error:
            raise DeviceRunnerError(
                "this machine has no memory left for that; end other programs, or give less data"
            ) from error
        except RecursionError as error:
            raise DeviceRunnerError(
                "a file is nested too deeply to be read; check what it was made with"
            ) from error
        except KeyboardInterrupt:
            click.echo(self.interrupted, err=True)
            ctx.exit(INTERRUPTED_EXIT_CODE)
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno in SYSTEM_ERRORS:
                raise DeviceRunnerError(SYSTEM_ERRORS[error.errno]) from error
            if error.errno is None:  # of a package, not of the system: where, nobody can say
                raise
            place = error.filename or "the output"
            if not error.filename:
                _drop_output()
            advice = DISK_ERRORS.get(error.errno, "look at its disk and permissions")
            raise DeviceRunnerError(f"cannot write {place}: {error.strerror}; {advice}") from error


def _drop_output() -> None:
    """Drop what standard output still holds: Python would complain about it when it exits."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stdout.fileno()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), descriptor)
