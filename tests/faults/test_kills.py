"""A run that is killed at any moment, with files cut as by a power loss, ends as one left alone."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runner.model.contract import CONTRACT_FILE
from device_runner.model.step_file import split_step_file

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
CHAINS = 3
KILLS = int(os.environ.get("EDGESTEP_FAULT_KILLS", "60")) // CHAINS
# After this share of the kills some files lose their ends.
POWER_LOSS = 0.5
RECIPE = """
name = "killed"
task = "japanese-vowels"
schemes = ["float32", "int8", "int8:qat"]
[training]
epochs = 4
[calibration]
steps = 1000
[qat]
epochs = 2
[bench]
steps = 200
rounds = 2
warmup_s = 0.0
[[models]]
cell = "gru"
units = 8
[[models]]
cell = "simple-rnn"
units = 8
prune = { sparsity = 0.5, epochs = 3 }
"""


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgestep", "run", folder / "killed.toml"]
    return subprocess.Popen(
        [*command, "--runs-dir", folder / "runs"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
    )  # fmt: skip


def artifacts(folder: Path) -> dict[str, str]:
    """A hash of each step model, without the times in its contract."""
    found = {}
    for path in sorted((folder / "runs" / "killed").glob("*.tflite")):
        flatbuffer, members = split_step_file(path.read_bytes())
        contract = json.loads(members.pop(CONTRACT_FILE))
        del contract["metrics"]["seconds_per_epoch"]
        whole = [flatbuffer, json.dumps(contract).encode(), *members.values()]
        found[path.name] = hashlib.sha256(b"".join(whole)).hexdigest()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, str], float]:
    """The step models of a run that is left alone, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "killed.toml").write_text(RECIPE)
    begun = time.monotonic()
    process = start(folder)
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    made = artifacts(folder)
    assert len(made) == 6
    return made, time.monotonic() - begun


@pytest.mark.parametrize("chain", range(CHAINS))
def test_a_killed_run_ends_as_one_left_alone(chain, undisturbed, tmp_path):
    wanted, seconds = undisturbed
    rng = random.Random(chain)
    (tmp_path / "killed.toml").write_text(RECIPE)
    killed = 0
    while killed < KILLS:
        process = start(tmp_path)
        try:
            output, errors = process.communicate(timeout=rng.uniform(0, 0.7 * seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
            if rng.random() < POWER_LOSS:
                lose_power(tmp_path / "runs", rng)
            continue
        # It came to its end before it could be killed.
        assert process.returncode == 0, output + errors
        assert artifacts(tmp_path) == wanted
        shutil.rmtree(tmp_path / "runs")
    process = start(tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    assert "Traceback" not in errors
    assert artifacts(tmp_path) == wanted


def lose_power(folder: Path, rng: random.Random) -> None:
    """Cut some files at any length, finished ones too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for path in rng.sample(files, min(len(files), rng.choice((1, 2, 4)))):
        os.truncate(path, rng.randrange(path.stat().st_size))
