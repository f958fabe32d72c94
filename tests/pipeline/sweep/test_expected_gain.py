"""The choice by expected gain of hypervolume: its arithmetic against draws, and what it chooses."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from pipeline.sweep.expected_gain import BEYOND, Candidate, ExpectedGain
from pipeline.sweep.front import hypervolume
from pipeline.sweep.log import SweepLog
from pipeline.sweep.settings import RangeSection, SweepSettings
from pipeline.sweep.space import Dimension, Space
from pipeline.sweep.survey import candidates, graph_key, graphs
from tests.pipeline.sweep.test_bookkeeping import SETTINGS, run

UNITS = [4, 8, 16, 32, 64]
CELLS = ["gru", "lstm"]
DIMENSIONS = {"cell": Dimension("cell", CELLS), "units": Dimension("units", UNITS)}


def chooser(costs):
    """Candidates of two cells and five sizes, whose costs come from their parameters."""
    points = [{"cell": cell, "units": units} for cell in CELLS for units in UNITS]
    sizes = [one["units"] ** 2 * (4 if one["cell"] == "lstm" else 3) for one in points]
    found = [Candidate(one, costs(size), size) for one, size in zip(points, sizes, strict=True)]
    return ExpectedGain(DIMENSIONS, found)


@pytest.mark.parametrize(
    "costs",
    [lambda size: (size,), lambda size: (size, 1000 + size // 2)],
    ids=["one-cost", "two-costs"],
)
def test_the_expected_gain_is_what_draws_gain(costs):
    made = chooser(costs)
    known = {0: 0.2, 3: 0.7, 6: 0.4, 9: 0.9}
    mean, deviation = made.accuracies(known)
    gains = made._gains(known, [])
    worst = 0.2 - BEYOND * 0.7
    limit = [*[1 + BEYOND] * made.costs.shape[1], -worst]
    seen = [[*made.costs[one], -value] for one, value in known.items()]
    before = hypervolume(seen, limit)
    chance = np.random.default_rng(1)
    for place in (1, 4, 7, 8):
        draws = chance.normal(mean[place], deviation[place], 3000)
        volumes = [hypervolume([*seen, [*made.costs[place], -one]], limit) for one in draws]
        gain, error = np.mean(volumes) - before, np.std(volumes) / np.sqrt(len(draws))
        assert gains[place] == pytest.approx(gain, abs=4 * error + 1e-6)


def test_what_is_known_is_hardly_in_doubt_and_a_neighbour_is_less_than_others():
    made = chooser(lambda size: (size,))
    mean, deviation = made.accuracies({0: 0.2, 2: 0.6, 4: 0.8})
    assert mean[[0, 2, 4]] == pytest.approx([0.2, 0.6, 0.8], abs=0.01)
    assert deviation[[0, 2, 4]].max() < deviation[[1, 3]].min()
    assert deviation[3] < deviation[8]
    # Larger networks are expected to be better, of a cell that nothing is known of, too.
    assert (np.diff(mean[5:]) > 0).all()


def test_the_first_ones_are_the_largest_and_the_smallest_and_nothing_is_chosen_twice():
    made = chooser(lambda size: (size,))
    known, chosen = {}, []
    for number in range(10):
        place = made.choose(known, [], random.Random(number))
        chosen.append(place)
        known[place] = 0.1 * number
    assert chosen[:2] == [9, 0]
    assert sorted(chosen) == list(range(10))
    assert made.choose(known, [], random.Random(0)) is None


def test_a_network_that_breaks_a_constraint_is_no_trial(tmp_path):
    raw = {**SETTINGS, "trials": 6, "search": {"sampler": "ehvi", "candidates": 12},
           "constraints": {"bytes": 4000}}  # fmt: skip
    log, pool = run(tmp_path / "sweep", raw)
    assert len(log.surveyed) == 12
    beyond = [one for one in log.surveyed.values() if one["violations"]["bytes"] > 0]
    assert beyond
    assert {one["state"] for one in log.trials.values()} == {"complete"}
    assert len({str(point) for point in log.asked.values()}) == 6
    # Once more: nothing of the survey is done again.
    again, pool = run(tmp_path / "sweep", {**raw, "trials": 7})
    assert again.surveyed == log.surveyed
    trained = [number for number, phase in pool.done if phase == "trained"]
    assert trained == [6]
    assert all(number >= 0 for number, _ in pool.done)


@pytest.mark.parametrize(
    "more",
    [{}, {"model": {"share": {"low": 0.1, "high": 0.9}}},
     {"units": {"low": 4, "high": 400, "log": True},
      "model": {"share": {"low": 0.5, "high": 1.5, "step": 0.5}}}],
    ids=["counted", "uncountable", "steps"],
)  # fmt: skip
def test_of_a_large_space_some_networks_are_drawn(tmp_path, more):
    space = {**SETTINGS["space"], "units": {"low": 4, "high": 400}, **more}
    raw = {**SETTINGS, "space": space, "search": {"sampler": "ehvi", "candidates": 7, "seed": 3}}
    made = Space(SweepSettings.model_validate(raw))
    found = graphs(made)
    assert found == graphs(made)
    assert len({graph_key(point) for point in found}) == 7
    log = SweepLog(tmp_path / "results.jsonl")
    for number, point in enumerate(found):
        state = "impossible" if number == 0 else "done"
        violations = {"bytes": 0.5 if number == 1 else -0.5}
        log.append("surveyed", graph=graph_key(point), state=state, violations=violations,
                   bytes=1000 + number, parameters=100, sha256=str(number))  # fmt: skip
    tried = candidates(made, log)
    assert {one.costs for one in tried} == {(1000.0 + number,) for number in range(2, 7)}
    assert [one.point for one in tried] == [one.point for one in candidates(made, log)]
    for one in tried:
        assert made.point(made.drawn(one.point)) == one.point
        for name, dimension in made.dimensions.items():
            if isinstance(dimension.choices, RangeSection):
                assert dimension.choices.low <= one.point[name] <= dimension.choices.high
