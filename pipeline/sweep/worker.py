"""A worker on this machine: jobs come in on standard input, a line each, and answers go out."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Do jobs until standard input ends."""
    _end_with_parent(int(sys.argv[1]))
    # Whatever TensorFlow writes is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from pipeline.sweep.jobs import run_job

    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = run_job(job)
        except Exception as error:  # a fault of ours costs one trial, not the sweep
            traceback.print_exc()
            answer = {"state": "failed", "phase": job["phase"], "seconds": 0.0,
                      "reason": f"{type(error).__name__}: {error}"}  # fmt: skip
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _end_with_parent(parent: int) -> None:
    """Have Linux kill this process when the sweep is killed, even while it is paused."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


if __name__ == "__main__":
    main()
