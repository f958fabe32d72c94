"""Limit the memory of the child process in which a model is loaded and stepped.

A small file can make a runtime take all of the machine's memory: the real output of an operator may
be larger than the shape that the file declares. The limit is on the memory that a process can write
to (RLIMIT_DATA), on top of what it has already: runtimes map far more addresses than they use, so a
limit on addresses (RLIMIT_AS) would say little. Only Linux knows both; elsewhere nothing is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device_runner import containment
from device_runner.errors import BadModelError
from device_runner.model.step_file import StepModel

MEGABYTE = 1024 * 1024
# Beyond what the file's own tensors need, in megabytes. Drivers of accelerators need far more.
DEFAULT_MEGABYTES = 1024
ACCELERATOR_MEGABYTES = 4096
ACCELERATORS = frozenset(("litert-gpu", "edgetpu", "external-delegate"))
# While a file is read there are a few copies of its bytes; a runtime packs its weights anew.
READ_COPIES, LOADED_COPIES = 6, 4
_THREAD_BYTES = 16 * MEGABYTE
# TensorFlow has three pools of a thread for each CPU.
_POOLS = 3
_STATUS = Path("/proc/self/status")


def beyond(backend: str, megabytes: int | None, threads: int = 1) -> int:
    """Return how many bytes a model may take beyond its own tensors.

    Args:
        backend: a name in :data:`device_runner.backends.BACKENDS`, or "auto".
        megabytes: what was asked for; None for the default.
    """
    default = ACCELERATOR_MEGABYTES if backend in ACCELERATORS else DEFAULT_MEGABYTES
    return (megabytes or default) * MEGABYTE + threads * _THREAD_BYTES


@contextmanager
def reading(path: str | Path, allowed: int, *others: str | Path) -> Iterator[None]:
    """Limit the memory for reading a file, and others that go with it.

    Raises:
        BadModelError: it needs more.
    """
    _limit(allowed + READ_COPIES * sum(map(_size, (path, *others))))
    with _told(path, allowed):
        yield


def _size(path: str | Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    try:
        if os.path.isdir(path):
            return sum(os.path.getsize(one) for one in Path(path).rglob("*") if one.is_file())
        return os.path.getsize(path)
    except OSError:
        return 0


@contextmanager
def stepping_within(model: StepModel, allowed: int) -> Iterator[None]:
    """Limit the memory for loading a model into a runtime, and for all that follows.

    Raises:
        BadModelError: loading and the first step need more.
    """
    tensors = sum(
        max(0, tensor.byte_count or 0)
        for graph in model.phase_graphs.values()
        for tensor in graph.tensors
    )
    _limit(allowed + tensors + LOADED_COPIES * len(model.flatbuffer))
    with _told(model.path, allowed):
        yield


@contextmanager
def _told(path: str | Path, allowed: int) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise too_much(path, allowed) from error


def extend(more: int) -> None:
    """Allow more, once it is known what a file needs; nothing happens where there is no limit."""
    if not containment.in_child():
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft >= 0:
        wanted = soft + more
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def framework_threads() -> int:
    """Return how many bytes the stacks of a framework's threads take on this machine."""
    return _POOLS * (os.cpu_count() or 1) * _THREAD_BYTES


def too_much(path: str | Path, allowed: int) -> BadModelError:
    """Make the error for a file that needs more memory than is allowed."""
    return BadModelError(
        f"{path}: it needs more than {allowed // MEGABYTE:,} MB beyond its own tensors; "
        "do not use it, or allow more with --memory"
    )


def _limit(more: int) -> None:
    """Let this process take so many bytes more than it has now, if it is a child of ours."""
    if not containment.in_child():
        return
    try:
        import resource

        found = re.search(r"VmData:\s+(\d+) kB", _STATUS.read_text())
        if found is None:
            return
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = int(found[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
    except (ImportError, OSError, ValueError):
        return
    containment.tell_limited()
