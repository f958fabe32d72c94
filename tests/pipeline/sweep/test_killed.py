"""Real sweeps whose workers are killed, and then the whole sweep, at moments drawn by chance."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

ROOT = Path(__file__).parents[3]
KILLS = 10
SWEEP = """
name = "killed"
trials = 4
objectives = ["accuracy", "bytes"]
[recipe]
task = "japanese-vowels"
[recipe.training]
epochs = 6
[recipe.calibration]
steps = 100
[constraints]
bytes = 100000
[search]
startup = 3
ahead = 2
[space]
cell = ["gru", "simple-rnn"]
units = [2, 4, 6]
scheme = ["float32", "int8"]
"""


def command(path: Path, runs: Path) -> list[str]:
    return [sys.executable, "-m", "edgestep", "sweep", str(path), "--runs-dir", str(runs),
            "--workers", "2"]  # fmt: skip


def started(path: Path, runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(path, runs), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def workers_of(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True)
    return [int(one) for one in found.stdout.split()]


def lives(process: int) -> bool:
    """Whether a process runs; one that was killed may wait for somebody to take note of it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def trials(runs: Path) -> dict[int, dict]:
    found = {}
    for line in (runs / "killed" / "results.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["kind"] == "trial":
            assert one["trial"] not in found, "a trial ended twice"
            found[one["trial"]] = {
                name: one[name] for name in ("state", "point", "objectives", "curve", "sha256")
            }
    return found


@pytest.mark.faults
def test_kills_cost_no_trial_and_change_none(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    whole = subprocess.run(
        command(path, tmp_path / "whole"), cwd=ROOT, capture_output=True, text=True
    )
    assert whole.returncode == 0, whole.stdout + whole.stderr
    chance, kills = random.Random(23), 0
    sweep = started(path, tmp_path / "runs")
    while sweep.poll() is None and kills < KILLS:
        time.sleep(chance.uniform(2, 15))
        children = workers_of(sweep.pid)
        if sweep.poll() is not None:
            break
        kills += 1
        # Three kills of one worker are the trial's own fault: so the whole sweep every other time.
        if kills % 2 and children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)
            continue
        sweep.kill()
        sweep.wait()
        until = time.monotonic() + 30
        while any(map(lives, children)):
            assert time.monotonic() < until, "workers live on"
            time.sleep(0.2)
        sweep = started(path, tmp_path / "runs")
    output, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 0, output
    print(f"{kills} kills")
    assert trials(tmp_path / "runs") == trials(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_says_what_is_kept(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    sweep = started(path, tmp_path / "runs")
    results = tmp_path / "runs" / "killed" / "results.jsonl"
    while not results.exists() or '"asked"' not in results.read_text():
        time.sleep(0.2)
        assert sweep.poll() is None
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    last = output.strip().splitlines()[-1]
    assert last == (
        f"Interrupted: 0 of 4 trials are kept in {results}; run the same command to go on."
    )
