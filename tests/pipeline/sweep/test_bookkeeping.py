"""Sweeps whose workers look results up: what is asked, kept, and found again after kills."""

import json
import os
import random

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from pipeline.errors import PipelineError, RecipeError
from pipeline.sweep.coordinator import CONTROL_FILE, Sweep
from pipeline.sweep.front import front, hypervolume
from pipeline.sweep.log import RESULTS_FILE, SweepLog
from pipeline.sweep.settings import SweepSettings
from pipeline.sweep.study import Search, objective_directions
from tests.pipeline.sweep.table_workers import KilledError, TableWorkers

# Samplers whose kills take longer.
MORE = ("nsgaii", "ehvi")
METRIC = {"name": "accuracy", "unit": "%", "higher_is_better": True, "meaning": ""}
SETTINGS = {
    "name": "table",
    "trials": 24,
    "recipe": {"task": "japanese-vowels"},
    "space": {
        "cell": ["gru", "lstm", "simple-rnn"],
        "units": [4, 8, 16, 32],
        "scheme": ["float32", "int8"],
        "training": {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}},
    },
    "search": {"startup": 6, "population": 6},
}


class Silent:
    """Listens to a sweep and says nothing."""

    def finished(self, record, log):
        pass

    def at_work(self, text):
        pass

    def check(self):
        pass


@pytest.fixture(autouse=True)
def _not_synced(monkeypatch):
    """Nothing is lost here but what this process forgets; syncing to the disk would take most of
    the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run(folder, raw=SETTINGS, **workers):
    """Run a sweep; return its log and its workers."""
    folder.mkdir(exist_ok=True)
    (folder / CONTROL_FILE).write_bytes(b"a model")
    settings = SweepSettings.model_validate(raw)
    log = SweepLog.load(folder / RESULTS_FILE)
    search = Search(settings, objective_directions(settings, True), folder)
    pool = TableWorkers(**workers)
    Sweep(settings, METRIC, folder, log, search, pool, Silent()).run()
    return log, pool


def with_search(**changes):
    return {**SETTINGS, "search": {**SETTINGS["search"], **changes}}


@pytest.mark.parametrize(
    "sampler",
    ["tpe", "random", *(pytest.param(one, marks=pytest.mark.slow) for one in ("nsgaii", "ehvi"))],
)
def test_a_sweep_that_is_killed_finds_what_one_that_is_not_does(tmp_path, sampler):
    raw = with_search(sampler=sampler)
    whole, _ = run(tmp_path / "whole", raw, seed=1)
    chance, kills = random.Random(sampler), 0
    while True:
        try:
            log, _ = run(
                tmp_path / "killed",
                raw,
                seed=kills,
                lost=0.05,
                killed_after=chance.randrange(2, 14),
            )
            break
        except KilledError:
            kills += 1
            assert kills < 60
    assert kills >= 3
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    ended = [line["trial"] for line in lines if line["kind"] == "trial"]
    assert sorted(ended) == list(range(24))
    assert log.asked == whole.asked
    assert log.trials == {number: {**one, "seconds": log.trials[number]["seconds"]}
                          for number, one in whole.trials.items()}  # fmt: skip
    assert log.front == whole.front


def test_the_order_of_answers_changes_nothing(tmp_path):
    found = [run(tmp_path / str(seed), seed=seed, count=1 + seed)[0] for seed in range(3)]
    assert found[0].asked == found[1].asked == found[2].asked


def test_no_point_is_tried_twice_and_a_space_may_end(tmp_path):
    space = {"cell": ["gru", "simple-rnn"], "units": [4, 8, 16], "scheme": ["int8", "float32"]}
    log, _ = run(tmp_path / "small", {**SETTINGS, "space": space, "trials": 50})
    assert len(log.trials) == 12
    assert len({json.dumps(point) for point in log.asked.values()}) == 12


def test_more_trials_go_on_from_fewer(tmp_path):
    few, _ = run(tmp_path / "sweep", {**SETTINGS, "trials": 10})
    more, _ = run(tmp_path / "sweep")
    at_once, _ = run(tmp_path / "at-once")
    assert len(few.trials) == 10
    assert more.asked == at_once.asked


def test_what_breaks_a_constraint_is_not_trained(tmp_path):
    raw = {**SETTINGS, "constraints": {"bytes": 4000, "targets": ["edgetpu"]}}
    log, pool = run(tmp_path / "sweep", raw)
    trained = {number for number, phase in pool.done if phase == "trained"}
    infeasible = {number for number, one in log.trials.items() if one["state"] == "infeasible"}
    assert infeasible
    assert not trained & infeasible
    for number in infeasible:
        one = log.trials[number]
        assert one["objectives"]["bytes"] > 4000 or "edgetpu" in one["refused"]
    assert all(one["objectives"]["bytes"] <= 4000 for one in log.front["trials"])


def test_a_worker_that_is_always_lost_fails_its_trials(tmp_path):
    log, _ = run(tmp_path / "sweep", {**SETTINGS, "trials": 3}, lost=1.0)
    assert {one["state"] for one in log.trials.values()} == {"failed"}
    assert "lost 3 times" in log.trials[0]["reason"]
    assert log.front["trials"] == []


def test_a_line_that_was_being_written_is_cut_off(tmp_path):
    log, _ = run(tmp_path / "sweep", {**SETTINGS, "trials": 5})
    content = log.path.read_bytes()
    log.path.write_bytes(content + b'{"sweep_format": 1, "ki')
    again, pool = run(tmp_path / "sweep", {**SETTINGS, "trials": 5})
    assert again.trials == log.trials
    assert pool.done == []
    assert log.path.read_bytes() == content


def test_a_damaged_log_is_refused(tmp_path):
    log, _ = run(tmp_path / "sweep", {**SETTINGS, "trials": 2})
    log.path.write_text("{}\n" + log.path.read_text())
    with pytest.raises(PipelineError, match="line 1 is no line of a sweep"):
        SweepLog.load(log.path)


def test_another_space_is_refused(tmp_path):
    run(tmp_path / "sweep", {**SETTINGS, "trials": 2})
    other = {**SETTINGS, "space": {**SETTINGS["space"], "units": [4, 8]}}
    with pytest.raises(RecipeError, match="another space"):
        run(tmp_path / "sweep", other)


def test_the_study_is_made_anew_of_the_log(tmp_path):
    import optuna

    log, _ = run(tmp_path / "sweep")
    (tmp_path / "sweep" / "study.journal").unlink()
    run(tmp_path / "sweep")
    settings = SweepSettings.model_validate(SETTINGS)
    study = Search(settings, objective_directions(settings, True), tmp_path / "sweep")
    loaded = optuna.load_study(study_name="table", storage=study.storage)
    assert len(loaded.trials) == 24
    shown = {tuple(one.values) for one in loaded.best_trials}
    ours = {
        (one["objectives"]["accuracy"], one["objectives"]["bytes"]) for one in log.front["trials"]
    }
    assert shown == ours


def test_fronts_and_volumes():
    assert front([[1, 1]]) == [0]
    assert front([]) == []
    assert hypervolume([[0, 0, 0]], [1, 2, 3]) == 6
    assert hypervolume([[5, 5]], [4, 4]) == 0
    chance = random.Random(3)
    points = [[chance.random() for _ in range(3)] for _ in range(15)]
    draws = [[chance.random() for _ in range(3)] for _ in range(20_000)]
    share = sum(
        any(all(p <= d for p, d in zip(point, draw, strict=True)) for point in points)
        for draw in draws
    ) / len(draws)
    assert hypervolume(points, [1, 1, 1]) == pytest.approx(share, abs=0.015)
