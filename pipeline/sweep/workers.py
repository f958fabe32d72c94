"""Where jobs are done: processes on this machine. :mod:`pipeline.sweep.ray_workers` has others."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from convert.own_process import module_command

#: A job's number and its answer, or None where its worker was lost.
Answer = tuple[int, "dict[str, Any] | None"]
# A process keeps some memory of each network.
JOBS_PER_PROCESS = 40
LOG_FILE = "workers.log"


class Workers(Protocol):
    """A pool that does jobs; an answer comes for each, in any order."""

    def free(self) -> int:
        """Return how many more jobs can be begun now."""

    def submit(self, number: int, job: dict[str, Any]) -> None:
        """Begin a job; ``number`` is what its answer is called."""

    def poll(self, timeout: float) -> list[Answer]:
        """Return answers that have come, after at most ``timeout`` seconds."""

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Hold the workers of this machine still, for a measurement."""

    def close(self) -> None:
        """End the workers; what they were doing goes on from its stage the next time."""


class LocalWorkers:
    """Processes on this machine.

    Args:
        count: how many.
        threads: of each; more change the last digits of a training.
        folder: where what they write to standard error is kept.
    """

    def __init__(self, count: int, threads: int, folder: Path) -> None:
        self.threads, self.folder = threads, folder
        self.answers: queue.Queue[tuple[_Process, Answer]] = queue.Queue()
        self.lock = threading.Lock()
        self.pauses = 0
        self.processes = [_Process(self) for _ in range(count)]

    def free(self) -> int:
        return sum(one.job is None for one in self.processes)

    def submit(self, number: int, job: dict[str, Any]) -> None:
        with self.lock:
            next(one for one in self.processes if one.job is None).begin(number, job)

    def poll(self, timeout: float) -> list[Answer]:
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._taken(*self.answers.get(timeout=timeout)))
            while True:
                found.append(self._taken(*self.answers.get_nowait()))
        return [one for one in found if one is not None]

    def _taken(self, process: _Process, answer: Answer) -> Answer | None:
        return answer if process.finish(answer[0]) else None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        with self.lock:
            self.pauses += 1
            self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            with self.lock:
                self.pauses -= 1
                if not self.pauses:
                    self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for one in self.processes:
            one.signal(number)

    def close(self) -> None:
        with self.lock:
            for one in self.processes:
                one.end()


class _Process:
    """A worker's process, started when there is something to do, and anew when it was lost."""

    def __init__(self, pool: LocalWorkers) -> None:
        self.pool = pool
        self.process: subprocess.Popen[str] | None = None
        self.job: int | None = None
        self.jobs = 0

    def begin(self, number: int, job: dict[str, Any]) -> None:
        if self.process is None or self.process.poll() is not None:
            self._start()
        self.job = number
        self.jobs += 1
        process = self.process
        assert process is not None  # noqa: S101 (it was just started)
        threading.Thread(target=self._ask, args=(process, number, job), daemon=True).start()
        if self.pool.pauses:
            self.signal(signal.SIGSTOP)

    def _start(self) -> None:
        self.jobs = 0
        threads = str(self.pool.threads)
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        with (self.pool.folder / LOG_FILE).open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own module)
                [*module_command("pipeline.sweep.worker"), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **dict.fromkeys(names, threads)},
                # Ctrl-C is for the sweep, which ends its workers.
                preexec_fn=os.setpgrp,
            )

    def _ask(self, process: subprocess.Popen[str], number: int, job: dict[str, Any]) -> None:
        """Send the job, wait for the answer; no answer means that the process was lost."""
        assert process.stdin is not None  # noqa: S101 (it was started with pipes)
        assert process.stdout is not None  # noqa: S101
        answer = None
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        self.pool.answers.put((self, (number, answer)))

    def finish(self, number: int) -> bool:
        """Be free again; False if that job was not this process' last."""
        if self.job != number:
            return False
        self.job = None
        if self.jobs >= JOBS_PER_PROCESS:
            self.end()
        return True

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            self.process = None
