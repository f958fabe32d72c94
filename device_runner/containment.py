"""Runtimes trust a model file: one that was damaged or made for it can crash or hang the process.

The reader finds damage (offsets, sizes, the SHA-256), but whoever makes a file can sign it as well.
So a command that hands a model to a runtime goes on in a child process that is forked before the
runtime is imported; the parent waits, answers a crash in one line, and ends a child that does not
get through loading and one step in time. A fork costs a few milliseconds and starts nothing anew,
so that it is done every time: there is no cache of files once found good, which could be wrong for
another runtime, version or machine. While the child measures, the parent sleeps.

On systems other than Linux, where runtimes may not survive a fork, commands run uncontained.
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
from typing import Any

import click

from device_runner.errors import BadModelError

# Importing TensorFlow takes half a minute on a small board, a GPU's compiler as long.
LOAD_LIMIT_S = 300
# A child that Ctrl-C has reached by itself ends within this time, another one is told.
_INTERRUPT_S = 1
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
# Deaths that are no fault of the model: the parent dies of the same.
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGINT)
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
# What is no failure of a runtime: our own errors, and a full disk.
_NOT_THE_RUNTIMES = (click.ClickException, click.exceptions.Exit, click.Abort, OSError)

_to_parent: int | None = None


def contained(command: Callable) -> Callable:
    """A command that runs in a child process, where the standard streams are the process's own."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        # A caller that reads the output within this process would get none from a child.
        if sys.platform == "linux" and sys.stdout is sys.__stdout__ and _to_parent is None:
            _go_on_in_child()
        return command(*args, **kwargs)

    return wrapped


@contextlib.contextmanager
def loading(path: object) -> Iterator[None]:
    """A model is loaded and stepped for the first time: it may take LOAD_LIMIT_S at most."""
    _tell(f"+{path}")
    try:
        with stepping(path):
            yield
    finally:
        _tell("-")


@contextlib.contextmanager
def stepping(path: object) -> Iterator[None]:
    """What a runtime raises while it computes becomes one line about the model."""
    try:
        yield
    except _NOT_THE_RUNTIMES:
        raise
    except Exception as error:  # runtimes raise a dozen types for damaged models
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise BadModelError(
            f"{path}: the runtime fails in a step ({reason}); export or copy the model again"
        ) from error


def _tell(message: str) -> None:
    if _to_parent is not None:
        line = message.encode(errors="replace").replace(b"\n", b" ")[: select.PIPE_BUF - 1]
        os.write(_to_parent, line + b"\n")


def _go_on_in_child() -> None:
    """Return in a child process; in the parent, wait for its end and end in the same way."""
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
    # A terminal sends Ctrl-C to both; what comes from elsewhere has to be passed on.
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGINT))
    signal.signal(signal.SIGINT, lambda *_: signal.alarm(_INTERRUPT_S))
    path, in_time = _follow(from_child)
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
    raise BadModelError(
        f"{path}: the runtime crashed on it ({_name(death)}); do not use it here, "
        "export or copy it again, or use another backend"
    )


def _die_with(parent: int) -> None:
    """Make the kernel end this process when its parent is gone, however that ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # gone already
        os._exit(1)


def _follow(from_child: int) -> tuple[str, bool]:
    """Read what the child tells, to its end or until it takes too long.

    Returns:
        The model that it had to do with last, and whether it was in time.
    """
    path, limit, rest = "the model", None, b""
    while True:
        if not select.select([from_child], [], [], limit)[0]:
            return path, False
        told = os.read(from_child, 65536)
        if not told:
            return path, True
        *lines, rest = (rest + told).split(b"\n")
        for line in lines:
            limit = LOAD_LIMIT_S if line.startswith(b"+") else None
            if line.startswith(b"+"):
                path = line[1:].decode(errors="replace")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
