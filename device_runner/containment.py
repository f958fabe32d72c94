"""Run commands in a child process, because a model file can crash or hang a runtime.

Runtimes trust a file. The reader finds damage (offsets, sizes, the SHA-256), but whoever makes a
hostile file can sign it as well. So a command that hands a model to a runtime continues in a child
process, forked before the runtime is imported. The parent waits, answers a crash in one line, and
ends a child that does not load and step once in time. A fork costs a few milliseconds and starts
nothing anew, so it is always done: a cache of files that were once good could be wrong for another
runtime, version or machine. While the child measures, the parent sleeps.

On systems other than Linux, runtimes may not survive a fork, so commands run uncontained.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import click

from device_runner.errors import BadModelError, one_line

# Importing TensorFlow takes half a minute on a small board, and a GPU's compiler just as long.
LOAD_LIMIT_S = 300
# A child that gets Ctrl-C ends within this time; otherwise the parent passes it on.
_INTERRUPT_S = 1
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
# Deaths that are not the model's fault: the parent dies of the same signal.
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGINT)
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
# Errors that are not a runtime's: our own errors, and a full disk.
_NOT_THE_RUNTIMES = (click.ClickException, click.exceptions.Exit, click.Abort, OSError)

P = ParamSpec("P")
R = TypeVar("R")

_to_parent: int | None = None


def contained(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command run in a child process, if the standard streams are the process's own."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        # A caller that captures the output in this process would get none from a child.
        if sys.platform == "linux" and sys.stdout is sys.__stdout__ and _to_parent is None:
            _go_on_in_child()
        return command(*args, **kwargs)

    return wrapped


def in_child() -> bool:
    """Say whether this process is such a child, which runs a command of ours and nothing else."""
    return _to_parent is not None


def end_with_the_reader() -> None:
    """End this process without a word when whoever reads its output goes away.

    A command that runs within a process of a caller leaves the caller's handlers as they are: a
    broken connection would end that process, too.
    """
    if sys.stdout is sys.__stdout__:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def working_on(path: object) -> None:
    """Tell the parent which file is at fault if this process crashes."""
    _tell(f"+{path}")
    _tell("-")


@contextlib.contextmanager
def loading(path: object) -> Iterator[None]:
    """Limit the time for loading a model and its first step to LOAD_LIMIT_S."""
    _tell(f"+{path}")
    try:
        with stepping(path):
            yield
    finally:
        _tell("-")


@contextlib.contextmanager
def stepping(path: object) -> Iterator[None]:
    """Turn an error that a runtime raises while it computes into one line about the model.

    Raises:
        BadModelError: the runtime failed.
    """
    try:
        yield
    except (*_NOT_THE_RUNTIMES, MemoryError):
        raise
    except Exception as error:  # runtimes raise a dozen types for damaged models
        raise BadModelError(
            f"{path}: the runtime fails in a step ({type(error).__name__}: {one_line(error)}); "
            "export or copy the model again"
        ) from error


def tell_limited() -> None:
    """Tell the parent that from now on the memory is limited, which may be why a runtime dies."""
    _tell("!")


def _tell(message: str) -> None:
    if _to_parent is not None:
        line = message.encode(errors="replace").replace(b"\n", b" ")[: select.PIPE_BUF - 1]
        os.write(_to_parent, line + b"\n")


def _go_on_in_child() -> None:
    """Return in a child process; in the parent, wait for the child and end as it does.

    Raises:
        BadModelError: in the parent, where the child crashed or took too long.
        SystemExit: in the parent, with the child's exit code.
    """
    global _to_parent
    sys.stdout.flush()
    sys.stderr.flush()
    from_child, to_parent = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(from_child)
        _to_parent = to_parent
        _die_with(parent)
        return
    os.close(to_parent)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _: os.kill(child, received))
    # A terminal sends Ctrl-C to both; other signals must be passed on.
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGINT))
    signal.signal(signal.SIGINT, lambda *_: signal.alarm(_INTERRUPT_S))
    path, in_time, limited = _follow(from_child)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    if not in_time:
        raise BadModelError(
            f"{path}: it does not load and step within {LOAD_LIMIT_S} s; "
            "export or copy it again, or use another backend"
        )
    if os.WIFEXITED(status):
        raise SystemExit(os.WEXITSTATUS(status))
    death = os.WTERMSIG(status)
    if death in _PASSED_ON:
        signal.signal(death, signal.SIG_DFL)
        os.kill(os.getpid(), death)
    memory = " or more --memory" if limited else ""
    raise BadModelError(
        f"{path}: the runtime crashed on it ({_name(death)}); do not use it here, "
        f"export or copy it again, or use another backend{memory}"
    )


def _die_with(parent: int) -> None:
    """Make the kernel end this process when its parent ends, for whatever reason."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it has already ended
        os._exit(1)


def _follow(from_child: int) -> tuple[str, bool, bool]:
    """Read what the child reports, until it ends or takes too long.

    Returns:
        The model that it used last, whether it was in time, and whether its memory is limited.
    """
    path, limit, rest, limited = "the model", None, b"", False
    while True:
        if not select.select([from_child], [], [], limit)[0]:
            return path, False, limited
        told = os.read(from_child, 65536)
        if not told:
            return path, True, limited
        *lines, rest = (rest + told).split(b"\n")
        for line in lines:
            if line == b"!":
                limited = True
                continue
            limit = LOAD_LIMIT_S if line.startswith(b"+") else None
            if line.startswith(b"+"):
                path = line[1:].decode(errors="replace")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
