"""A sweep on a Ray cluster of two nodes with its study in PostgreSQL, and one node killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from tests.pipeline.sweep.servers import RayNodes, postgresql
from tests.pipeline.sweep.test_bookkeeping import SETTINGS, run

ROOT = Path(__file__).parents[3]
SWEEP = """
name = "cluster"
trials = 8
objectives = ["accuracy", "bytes"]
[recipe]
task = "japanese-vowels"
[recipe.training]
epochs = 2
[recipe.calibration]
steps = 100
[search]
startup = 3
[space]
cell = ["gru", "simple-rnn"]
units = [2, 3, 4, 6]
scheme = ["float32", "int8"]
"""


@pytest.fixture
def database(tmp_path):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install edgestep[sweep]")
    with postgresql(tmp_path) as url:
        yield url


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_a_study_in_postgresql_is_that_in_a_journal(tmp_path, database):
    import optuna

    search = {"startup": 4}
    kept, _ = run(tmp_path / "journal", {**SETTINGS, "search": search, "trials": 12})
    raw = {**SETTINGS, "search": {**search, "storage": database}, "trials": 12}
    log, _ = run(tmp_path / "database", raw)
    assert log.asked == kept.asked
    url = database.replace("postgresql:", "postgresql+psycopg:")
    study = optuna.load_study(study_name="table", storage=url)
    assert [one.state.name for one in study.trials] == ["COMPLETE"] * 12


@pytest.mark.slow
def test_a_cluster_loses_a_node_and_the_sweep_ends_complete(tmp_path, database):
    pytest.importorskip("ray", reason="needs Ray: pip install edgestep[ray]")
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    results = tmp_path / "runs" / "cluster" / "results.jsonl"
    nodes = RayNodes()
    try:
        second = nodes.add()
        command = [sys.executable, "-m", "edgestep", "sweep", str(path), "--ray", nodes.address]
        command += ["--runs-dir", str(tmp_path / "runs"), "--storage", database]
        sweep = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip

        def nodes_seen() -> set[str]:
            return {one["node"] for one in lines(results) if one.get("node")}

        deadline = time.monotonic() + 900
        while len(nodes_seen()) < 2 and sweep.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        both = nodes_seen()
        assert len(both) == 2, sweep.communicate()[0] if sweep.poll() is not None else both
        done = len([one for one in lines(results) if one["kind"] == "trial"])
        assert done < 8, "the second node came too late"
        nodes.kill(second)
        output, _ = sweep.communicate(timeout=900)
        assert sweep.returncode == 0, output
    finally:
        nodes.close()
    ended = [one for one in lines(results) if one["kind"] == "trial"]
    assert sorted(one["trial"] for one in ended) == list(range(8))
    assert {one["state"] for one in ended} <= {"complete", "pruned"}
    assert lines(results)[-1]["kind"] == "front"
