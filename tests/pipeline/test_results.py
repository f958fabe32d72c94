"""Results of several runs as tables of SQL, and two runs compared."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("duckdb", reason="needs DuckDB: pip install edgestep[results]")

from device_runner.measure.bench_files import bench_files
from device_runner.measure.latency import BenchSettings
from models.item_scores import ItemScores
from pipeline.cli import main
from pipeline.stages.convert import keep_items
from tests.conftest import KEPT_STEP_MODELS

FILES = ["gru-float32.tflite", "lstm-int8.tflite"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs and a sweep."""
    folder = tmp_path_factory.mktemp("results")
    short = BenchSettings(steps=1000, rounds=1, warmup_s=0)
    measured = bench_files([KEPT_STEP_MODELS / name for name in FILES], settings=short)
    right = np.array([1.0, 1, 1, 0] * 20)
    for number, name in enumerate(("before", "after")):
        (folder / name).mkdir()
        content = "".join(json.dumps(one) + "\n" for one in measured)
        (folder / name / "results.jsonl").write_text(content)
        gained = np.ones(80) if number else right
        keep_items(folder / name / "items.jsonl", {FILES[0]: ItemScores(gained, np.ones(80))})
    (folder / "search").mkdir()
    trial = {"sweep_format": 1, "kind": "trial", "trial": 4, "state": "complete", "point": {},
             "label": "gru-8 int8", "reason": None, "file": "stages/x.tflite", "sha256": "ab",
             "objectives": {"accuracy": 0.9, "bytes": 4000, "p99:pi4": 900},
             "intervals": {"accuracy": [0.8, 0.95], "p99:pi4": [880, 950]}}  # fmt: skip
    front = {"sweep_format": 1, "kind": "front",
             "trials": [{"trial": 4, "test": 0.88, "file": "004-gru-8.tflite"}]}  # fmt: skip
    lines = [{"sweep_format": 1, "kind": "asked", "trial": 4, "point": {}}, trial, front]
    content = "".join(json.dumps(one) + "\n" for one in lines)
    (folder / "search" / "results.jsonl").write_text(content)
    return folder


def ask(*arguments):
    return CliRunner().invoke(main, ["results", *map(str, arguments)])


def test_all_runs_are_shown(runs):
    result = ask(runs, "--json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert [(one["run"], one["file"]) for one in rows] == [
        ("after", FILES[0]), ("after", FILES[1]), ("before", FILES[0]), ("before", FILES[1]),
        ("search", "004-gru-8.tflite"),
    ]  # fmt: skip
    assert rows[-1]["score"] == 0.88
    assert rows[-1]["p99_ns"] == 900
    assert "5 rows" in ask(runs).output


def test_a_query_is_answered(runs):
    query = "SELECT label, score_low, p99_high_ns FROM trials JOIN trial_costs USING (run, trial)"
    result = ask(runs, "--sql", query, "--json")
    assert json.loads(result.output) == {
        "label": "gru-8 int8", "score_low": 0.8, "p99_high_ns": 950,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM bench", "the tables are bench, trials, trial_costs"),
        ("SELEKT", "the query is wrong"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled"),
        ("SET enable_external_access = true", "the query is wrong"),
    ],
)
def test_a_wrong_query_is_told_in_one_line(runs, query, said):
    result = ask(runs, "--sql", query)
    assert result.exit_code == 3
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_devices_are_joined_by_the_files_that_both_measured(runs, tmp_path):
    shutil.copytree(runs / "before", tmp_path / "run")
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    twice = json.loads(lines[0]) | {"device": "pi4"}
    (tmp_path / "run" / "pi.jsonl").write_text(json.dumps(twice) + "\n")
    query = """SELECT pi.file, pi.device, pi.mode, pi.p50_ns / here.p50_ns AS times
               FROM bench pi JOIN bench here USING (model_sha256)
               WHERE pi.device <> 'here' AND here.device = 'here'"""
    result = ask(tmp_path, "--sql", query, "--json")
    assert json.loads(result.output) == {
        "file": FILES[0], "device": "pi4", "mode": "back-to-back", "times": 1.0,
    }  # fmt: skip


def test_a_folder_without_results_is_told(tmp_path):
    result = ask(tmp_path)
    assert result.exit_code == 3
    assert "no results.jsonl" in result.output


def test_damaged_results_are_told(runs, tmp_path):
    shutil.copytree(runs / "before", tmp_path / "run")
    (tmp_path / "run" / "results.jsonl").write_text('{"result_format": 2}\n')
    result = ask(tmp_path)
    assert result.exit_code == 3
    assert "holds no results" in result.output


def test_two_runs_are_compared(runs):
    result = ask(runs / "before", runs / "after", "--compare")
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()
    assert first.startswith(f"{FILES[0]}: accuracy +25.0 (")
    assert "no difference" not in first
    assert "scores are not kept" in second
    assert ask(runs / "before", "--compare").exit_code == 2
    assert "no folder of a run" in ask(runs / "before", runs, "--compare").output
