"""Set where and how urgently the operating system (Linux) runs the measurement."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from device_runner.errors import BadInputError, MissingRuntimeError


@contextlib.contextmanager
def scheduled(cpus: Sequence[int] = (), realtime: int | None = None) -> Iterator[None]:
    """Run the block only on these CPUs, at a real-time priority (SCHED_FIFO, 1 to 99).

    Enter it before a runtime is loaded, so that its threads inherit both. Afterwards the process
    has its old schedule.

    Raises:
        BadInputError: there is no such CPU.
        MissingRuntimeError: the system does not allow or does not know it.
    """
    with contextlib.ExitStack() as restore:
        if cpus:
            _pin(cpus, restore)
        if realtime is not None:
            _raise_priority(realtime, restore)
        yield


def _pin(cpus: Sequence[int], restore: contextlib.ExitStack) -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise MissingRuntimeError("this system cannot bind a process to CPUs; leave out --cpu")
    before = os.sched_getaffinity(0)
    if unknown := sorted(set(cpus) - before):
        raise BadInputError(
            f"there is no CPU {unknown[0]} for this process; there are {_listed(before)}"
        )
    os.sched_setaffinity(0, cpus)
    restore.callback(os.sched_setaffinity, 0, before)


def _raise_priority(priority: int, restore: contextlib.ExitStack) -> None:
    if not hasattr(os, "sched_setscheduler"):
        raise MissingRuntimeError("this system has no real-time priorities; leave out --realtime")
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError as error:
        raise MissingRuntimeError(
            "a real-time priority is not allowed to this user; run as root, grant CAP_SYS_NICE or "
            "raise 'ulimit -r', or leave out --realtime"
        ) from error
    restore.callback(os.sched_setscheduler, 0, *before)


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
