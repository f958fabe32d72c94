"""What a sweep.toml may say, and what is said of a wrong one."""

import re
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install edgestep[sweep]")

from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import RecipeError
from pipeline.sweep.settings import load_sweep
from pipeline.sweep.space import Space
from pipeline.sweep.trial import Trial, front_end_words

GOOD = """
name = "mini"
trials = 3
objectives = ["accuracy", "bytes"]
[recipe]
task = "japanese-vowels"
[recipe.training]
epochs = 2
[space]
cell = ["gru", "lstm"]
units = [4, 8, 16]
layers = [1, 2]
scheme = ["int8", "float32"]
compression = [{}, { prune = { sparsity = 0.5, epochs = 2 } }]
training = { learning_rate = { low = 0.001, high = 0.01, log = true } }
"""


def test_a_point_becomes_a_recipe(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(GOOD)
    space = Space(load_sweep(path))
    assert space.size is None
    point = {**space.ends(), "units": 8, "layers": 2, "training.learning_rate": 0.004,
             "compression": {"prune": {"sparsity": 0.5, "epochs": 2}}}  # fmt: skip
    table = space.recipe(point)
    assert table["models"] == [
        {"cell": "gru", "units": [8, 8], "prune": {"sparsity": 0.5, "epochs": 2}}
    ]
    assert table["training"] == {"epochs": 2, "learning_rate": 0.004}
    assert space.point(space.drawn(point)) == point


SOUND = """
name = "sound"
trials = 3
[recipe]
task = "folder"
[recipe.data]
folder = "sounds"
labels = "folder"
group = "file"
[space]
cell = ["gru"]
units = [4, 8]
front_end = [{ front_end = "log-mel" }, { front_end = "mel", mels = 20 }]
[space.data]
every = [1, 2, 4]
[constraints]
deadline = 0.001
deadline_share = 0.05
[devices.here]
"""


def test_front_ends_are_searched_by_their_own_names(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SOUND)
    space = Space(load_sweep(path))
    assert space.size == 12
    point = {**space.ends(), "front_end": {"front_end": "mel", "mels": 20}, "data.every": 4}
    data = space.recipe(point)["data"]
    assert (data["front_end"], data["mels"], data["every"]) == ("mel", 20, 4)
    assert data["folder"] == str(tmp_path / "sounds")
    assert space.point(space.drawn(point)) == point
    assert front_end_words(point) == ["front_end=mel", "mels=20", "every=4"]


def test_the_deadline_follows_the_frame_period(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SOUND)
    limits = load_sweep(path).constraints
    assert limits.deadline_at(0.01) == pytest.approx(0.0005)
    assert limits.deadline_at(0.04) == pytest.approx(0.001)
    for period, beyond in ((0.01, 0.6), (0.04, -0.2)):
        answer = {"state": "done", "phase": "untrained", "seconds": 1.0, "bytes": 1000,
                  "frame_period_s": period}  # fmt: skip
        trial = Trial(0, {}, {}, untrained=answer)
        found = trial.violations(limits, {"here": {"p99_ns": 500_000, "whole_p99_ns": 800_000}})
        assert found == {"deadline:here": pytest.approx(beyond)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("every = [1, 2, 4]", "everi = [1]", "'everi' of [data] is not of the front end"),
        ("every = [1, 2, 4]", 'labels = ["folder"]', "would answer other questions"),
        ("every = [1, 2, 4]", "every = [1, 0]", "[space] 'data.every'"),
        (
            'group = "file"',
            'group = "file"\nwindow = 50',
            "'window' in [recipe.data]",
        ),
        ("mels = 20", "mels = 20, cepstra = 30", "20 cepstra at most"),
        ("[devices.here]", "", "a deadline needs a device"),
    ],
)
def test_a_wrong_front_end_is_told_in_one_line(tmp_path, old, new, said):
    assert old in SOUND
    path = tmp_path / "sweep.toml"
    path.write_text(SOUND.replace(old, new, 1))
    with pytest.raises(RecipeError, match=re.escape(said)) as error:
        load_sweep(path)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 3", "", "the key 'trials' is missing"),
        ("trials = 3", "trails = 3", "unknown key 'trails'; did you mean 'trials'?"),
        ('["gru", "lstm"]', '["gru", "lstn"]', "unknown cell 'lstn'"),
        ("[4, 8, 16]", "[4, 0]", "whole numbers from 1 on are wanted"),
        ("[4, 8, 16]", "{ low = 9, high = 3 }", "'low' must be below 'high'"),
        ('["int8", "float32"]', '["int9"]', "int9"),
        ("sparsity = 0.5", "sparsity = 1.5", "sparsity"),
        ("sparsity = 0.5", "sparsty = 0.5", "sparsty"),
        ("learning_rate =", "lerning_rate =", "lerning_rate"),
        ("low = 0.001", "low = -0.001", "begins above 0"),
        ('"bytes"]', '"p99"]', "needs a table [devices.NAME]"),
        ('"bytes"]', '"accuracy"]', "names one twice"),
        ('task = "japanese-vowels"', 'task = "vowels"', "unknown task 'vowels'"),
        ('task = "japanese-vowels"', 'schemes = ["int8"]', "which a sweep sets itself"),
        ("[space]", '[constraints]\ntargets = ["toaster"]\n[space]', "unknown target 'toaster'"),
        ("[space]", "[constraints]\ndeadline = 0.1\n[space]", "a deadline needs a device"),
        ("[space]", "[devices.a]\n[devices.b]\n[space]", "two names stand for one device"),
        (', "bytes"]', ']\n[search]\nsampler = "ehvi"', "add an objective"),
        ("[space]", '[search]\nstorage = "mysql://x"\n[space]', "begins with postgresql://"),
        ("name =", "name ==", "cannot be read as TOML"),
    ],
)
def test_a_wrong_sweep_is_told_in_one_line(tmp_path, old, new, said):
    assert old in GOOD
    path = tmp_path / "sweep.toml"
    path.write_text(GOOD.replace(old, new, 1))
    result = CliRunner().invoke(main, ["sweep", str(path), "--runs-dir", str(tmp_path / "runs")])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_missing_sweep_is_told(tmp_path):
    result = CliRunner().invoke(main, ["sweep", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "no such sweep" in result.output


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("sweep-*.toml")), ids=str)
def test_our_own_sweeps_are_right(path):
    assert load_sweep(path).trials > 1
