"""Sweeps with real trainings: hopeless ones end early, and a device is measured over ssh."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from click.testing import CliRunner

from pipeline.cli import main
from tests.pipeline.remote.conftest import serve, user_key  # noqa: F401 (fixtures)
from tests.pipeline.remote.device_runs import assert_clean, device, inventory, needs_sshd

# The pairs of a rate that learns and one that does not come in this order with this seed.
HOPELESS = """
name = "hopeless"
trials = 8
objectives = ["accuracy", "bytes"]
[recipe]
task = "japanese-vowels"
[recipe.training]
epochs = 16
[recipe.calibration]
steps = 400
[search]
sampler = "random"
seed = 27
ahead = 1
[space]
cell = ["gru"]
units = [4, 8, 12, 16]
training = { learning_rate = [0.02, 0.000001] }
"""


def lines(path, kind):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in found if one["kind"] == kind]


def sweep(path, runs):
    result = CliRunner().invoke(main, ["sweep", str(path), "--runs-dir", str(runs)])
    assert result.exit_code == 0, result.output
    return runs / path.stem / "results.jsonl", result.output


@pytest.mark.slow
def test_a_hopeless_training_ends_early(tmp_path):
    path = tmp_path / "hopeless.toml"
    path.write_text(HOPELESS)
    results, output = sweep(path, tmp_path / "runs")
    trials = lines(results, "trial")
    pruned = [one for one in trials if one["state"] == "pruned"]
    assert pruned, output
    for one in pruned:
        assert one["point"]["training.learning_rate"] == 0.000001
        assert "of 16 epochs it is at" in one["reason"]
        assert "smaller and faster networks were at" in one["reason"]
        assert not one["trained"]
        better = [
            other
            for other in trials[: one["trial"]]
            if other["state"] == "complete"
            and other["objectives"]["bytes"] <= one["objectives"]["bytes"]
        ]
        assert len(better) >= 2
    learning = [one for one in trials if one["point"]["training.learning_rate"] == 0.02]
    assert {one["state"] for one in learning} == {"complete"}
    best = {one["trial"] for one in lines(results, "front")[0]["trials"]}
    assert not best & {one["trial"] for one in pruned}
    # The same command finds nothing left to do, and says the same.
    before = results.read_bytes()
    sweep(path, tmp_path / "runs")
    assert results.read_bytes() == before


REMOTE = """
name = "remote"
trials = TRIALS
objectives = ["accuracy", "p99"]
[recipe]
task = "japanese-vowels"
[recipe.training]
epochs = 2
[recipe.calibration]
steps = 200
[search]
sampler = "random"
[space]
cell = ["simple-rnn"]
units = [4, 8, 12]
[devices.pi]
host = "desk"
inventory = "INVENTORY"
backend = "litert"
steps = 1000
rounds = 2
warmup_s = 0
repeats = 1
attempts = 3
tolerance = 1.0
"""


@pytest.mark.slow
@needs_sshd
def test_a_device_is_measured_over_ssh(tmp_path, serve):  # noqa: F811
    """A real sshd; then the control model's usual time is made a tenth of what it is, so that each
    measurement is thrown out and made again."""
    server = serve()
    path, place = (
        tmp_path / "remote.toml",
        inventory(tmp_path / "devices.toml", desk=device(server)),
    )

    def text(trials):
        return REMOTE.replace("TRIALS", str(trials)).replace("INVENTORY", str(place))

    path.write_text(text(1))
    results, output = sweep(path, tmp_path / "runs")
    (first,) = lines(results, "trial")
    assert first["state"] == "complete", output
    (control,) = lines(results, "control")
    assert control["device"] == "pi"
    measured = lines(results, "measured")
    assert {one["phase"] for one in measured} == {"untrained", "trained"}
    assert first["objectives"]["p99:pi"] == measured[-1]["p99_ns"] > 0
    assert all(one["step"]["samples"] == 1000 for one in measured)
    assert_clean(server)

    usual = f'"usual_ns": {control["usual_ns"]}'
    changed = results.read_text().replace(usual, f'"usual_ns": {control["usual_ns"] // 10}')
    results.write_text(changed)
    path.write_text(text(2))
    sweep(path, tmp_path / "runs")
    later = lines(results, "measured")[len(measured) :]
    assert later
    for one in later:
        assert len(one["thrown_out"]) == 3
        assert all("of its usual time" in reason for reason in one["thrown_out"])
        assert not one["steady"]
    assert_clean(server)
