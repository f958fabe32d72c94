"""A runtime that crashes or hangs on a model takes a child process with it, not the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from device_runner.cli import main as cli
from pipeline.bundle import write_bundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="contained on Linux alone")

SHORT = ("--steps", "100", "--rounds", "1", "--warmup", "0")
# A command of ours with a runtime that does something else than computing.
BROKEN = """
import os, signal, sys, time
from device_runner import containment
from device_runner.backends import litert
from device_runner.cli import main

def load(model, options):
    {body}

litert.load = load
containment.LOAD_LIMIT_S = 2
main(prog_name="device_runner")
"""


@pytest.fixture
def broken(run_python, int8_file, tmp_path):
    """Runs a command where loading a model does ``body``."""

    def run(body: str, *arguments: object):
        script = BROKEN.format(body=body)
        return run_python(
            "-c",
            script,
            *arguments,
            cwd=tmp_path,
            PYTHONPATH=os.pathsep.join([*sys.path[:1], os.getcwd()]),
        )

    return run


@pytest.mark.parametrize("command", [("verify",), ("bench", *SHORT), ("stream",)])
@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed on it (SIGSEGV)"),
        ("os.abort()", "crashed on it (SIGABRT)"),
        ("time.sleep(60)", "does not load and step within 2 s"),
        ("raise IndexError('bad\\nthing')", "fails in a step (IndexError: bad thing)"),
    ],
)
def test_what_a_runtime_does_ends_in_one_line(broken, int8_file, command, body, part):
    name, *options = command
    done = broken(body, name, int8_file, "--backend", "litert", *options)
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert part in done.stderr
    assert str(int8_file) in done.stderr


def test_a_child_that_exits_gives_its_code(broken, int8_file):
    assert broken("os._exit(17)", "verify", int8_file, "--backend", "litert").returncode == 17


def test_a_crash_in_a_later_step_is_contained_too(run_python, int8_file, tmp_path):
    script = (
        "import os\n"
        "from device_runner import cli\n"
        "from device_runner.commands import verify\n"
        "verify.verify = lambda stream: os.abort()\n"
        "cli.main(prog_name='x')\n"
    )
    done = run_python("-c", script, "verify", int8_file, cwd=tmp_path, PYTHONPATH=os.getcwd())
    assert done.returncode == 3
    assert "SIGABRT" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_signals_reach_the_child(int8_file, number, code):
    """Sent to the parent alone, as a supervisor does: both are gone, and the code says why."""
    command = [sys.executable, "-m", "device_runner", "bench", str(int8_file), "--paced"]
    process = subprocess.Popen(
        [*command, "--duration", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EDGESTEP_PROGRESS": "lines"},
        # A shell that runs the tests in the background lets them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        child = _child_of(process.pid)
        assert process.stderr.readline()  # it tells its progress: past all imports
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        assert not os.path.exists(f"/proc/{child}") or _is_zombie(child)
    finally:
        process.kill()


def test_the_child_dies_with_a_killed_parent(int8_file):
    command = [sys.executable, "-m", "device_runner", "bench", str(int8_file), "--paced"]
    process = subprocess.Popen([*command, "--duration", "600"], stdout=subprocess.DEVNULL)
    child = _child_of(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{child}") and not _is_zombie(child):
        assert time.monotonic() < deadline, "the child goes on without its parent"
        time.sleep(0.05)


def _child_of(parent: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{parent}/task/{parent}/children") as listed:
            if children := listed.read().split():
                return int(children[0])
        time.sleep(0.02)
    raise AssertionError("there is no child")


def _is_zombie(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as status:
            return status.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_from_the_bundle(tmp_path, run_python, int8_file):
    """The zip runs in a child as well, and gives what it prints."""
    bundle = write_bundle(tmp_path / "device.pyz")
    done = run_python(bundle, "verify", int8_file, "--backend", "litert", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failure"] is None
    children = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); parent = os.getpid()\n"
        "from device_runner import cli\n"
        "from device_runner.commands import verify\n"
        "verify.verify = lambda stream: os.kill(os.getpid(), 11) if os.getpid() != parent else 0\n"
        "sys.argv = ['x', 'verify', sys.argv[2]]; cli.main()\n"
    )
    done = run_python("-c", children, bundle, int8_file, cwd=tmp_path)
    assert done.returncode == 3
    assert "SIGSEGV" in done.stderr


def test_a_command_in_a_process_of_a_caller_leaves_its_handlers(int8_file):
    before = signal.getsignal(signal.SIGPIPE)
    line = ",".join(["0"] * 12) + "\n"
    result = CliRunner().invoke(cli, ["stream", str(int8_file), "-"], input=line)
    assert result.exit_code == 0, result.output
    assert signal.getsignal(signal.SIGPIPE) == before
