"""Runs commands of ours in forks of a process that has imported what takes long.

``python -m tests.faults.fork_server [tensorflow]`` reads a request in JSON from each line of
standard input and answers it with one on standard output. Each command gets a fork of its own, so
none sees what another left behind, and a crash costs one fork. Runtimes are imported in the forks
alone.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.entries import main as entry_points

LIGHT = (
    "pandas", "calibration.data", "convert.targets.check", "device_runner.commands.bench",
    "device_runner.commands.stream", "device_runner.commands.verify", "pipeline.recipe_check",
    "pipeline.remote.inventory", "pipeline.remote.device_answers", "pipeline.technique_table",
)  # fmt: skip
HEAVY = ("h5py", "onnx", "convert.adoption.adopt", "convert.import_conversion.conversion")
# A fork has TensorFlow's gigabytes of addresses already; its memory in use is what is judged.
ADDRESS_SPACE_BYTES = 16 * 1024**3


def serve(with_tensorflow: bool) -> None:
    """Answer requests until standard input ends."""
    from device_runner.keras_imports import leave_out_extras

    leave_out_extras()
    preload(with_tensorflow)
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    with os.fdopen(requests) as lines, os.fdopen(answers, "w") as told:
        print(json.dumps({"ready": True}), file=told, flush=True)
        for line in lines:
            print(json.dumps(_done(json.loads(line))), file=told, flush=True)


def preload(with_tensorflow: bool) -> None:
    """Import what commands need, but no runtime."""
    for name in LIGHT:
        importlib.import_module(name)
    if with_tensorflow:
        from convert.file_conversion import load_workstation_packages

        load_workstation_packages()
        for name in HEAVY:
            importlib.import_module(name)


def _done(request: dict[str, Any]) -> dict[str, Any]:
    """Do one command and tell how it ended."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _command(request)
        finally:
            os._exit(code)
    pause, ended = 0.005, 0
    while not ended:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - start > request["limit_s"]:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return _answer("too long", start, usage)
        time.sleep(pause)
        pause = min(0.1, pause * 1.2)
    if os.WIFSIGNALED(status):
        return _answer(signal.Signals(os.WTERMSIG(status)).name, start, usage)
    return _answer(os.WEXITSTATUS(status), start, usage)


def _answer(ending: int | str, start: float, usage: resource.struct_rusage) -> dict[str, Any]:
    return {
        "ending": ending,
        "wall_s": time.monotonic() - start,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "memory_bytes": usage.ru_maxrss * 1024,
    }


def _command(request: dict[str, Any]) -> int:
    """Run a command in this process, which is a fork; return its exit code."""
    os.setsid()
    box = Path(request["box"])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, name, how in (
        (0, "stdin", os.O_RDONLY | os.O_CREAT),
        (1, "stdout", os.O_WRONLY | os.O_CREAT),
        (2, "stderr", os.O_WRONLY | os.O_CREAT),
    ):
        file = os.open(box / name, how, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(box / "a" / "b" / "work")
    os.environ.update(HOME=str(box / "home"), TMPDIR=str(box / "tmp"))
    tempfile.tempdir = None
    code = 0
    try:
        entry_points(request["arguments"], prog_name="edgestep")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1:] == ["tensorflow"])
