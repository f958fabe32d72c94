"""Find which backends are usable on this machine, and why the others are not.

Each one is probed in a process of its own: two TFLite runtimes in one process can crash, and a
broken driver may take the process with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from device_runner.backends import backend_module
from device_runner.errors import DeviceRunnerError, one_line

# Importing TensorFlow alone takes half a minute on a small board.
PROBE_LIMIT_S = 180


@dataclass(frozen=True)
class Diagnosis:
    """Whether a backend is usable here.

    ``finding`` is its version and device if it is; otherwise what is missing and what to do.
    """

    backend: str
    usable: bool
    finding: str


def diagnose(backend: str) -> Diagnosis:
    """Probe one backend of BACKENDS in a process of its own."""
    # The child must run the same folder or zip that this package was imported from.
    source = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, backend],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Diagnosis(backend, False, f"does not answer within {PROBE_LIMIT_S} s; reinstall it")
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode == 0 and lines and lines[-1].startswith(_ANSWER):
        usable, finding = json.loads(lines[-1].removeprefix(_ANSWER))
        return Diagnosis(backend, usable, finding)
    return Diagnosis(backend, False, f"{_end(done.returncode)} when it is loaded; reinstall it")


def answer(backend: str) -> None:
    """Probe a backend in this process and print the answer; a child of diagnose runs this."""
    try:
        usable, finding = True, backend_module(backend).probe()
    except DeviceRunnerError as error:
        usable, finding = False, error.message
    except Exception as error:
        usable, finding = False, f"fails ({type(error).__name__}: {one_line(error)}); reinstall it"
    print(f"\n{_ANSWER}{json.dumps([usable, finding])}", flush=True)


# Marks the answer, as native code may print anything around it.
_ANSWER = "edgestep doctor: "
# Nothing is imported from the working directory, where "python -c" looks first.
_CHILD = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from device_runner.doctor import answer; answer(sys.argv[1])"
)


def _end(code: int) -> str:
    if code >= 0:
        return f"ends with exit code {code}"
    try:
        return f"crashes ({signal.Signals(-code).name})"
    except ValueError:
        return f"crashes (signal {-code})"
