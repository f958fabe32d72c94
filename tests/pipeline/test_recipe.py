"""Recipes: what is accepted, and how a mistake is answered."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe

GOOD = """
name = "mini"
task = "japanese-vowels"
[training]
epochs = 3
[[models]]
cell = "gru"
units = 8
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_and_labels(recipe_file):
    text = GOOD + '[[models]]\ncell = "lstm"\nunits = [8, 4]\nprune = { sparsity = 0.75 }\n'
    recipe = load_recipe(recipe_file(text))
    assert [str(scheme) for scheme in recipe.schemes] == ["float32", "int8"]
    labels = ["gru-8", "lstm-8-4-pruned75", "lstm-8-4-longer30"]
    assert [model.label for model in recipe.models] == labels
    assert recipe.training.epochs == 3


def test_compressions_name_the_files(recipe_file):
    text = GOOD + (
        'factorize = { rank = 4 }\nprune = { sparsity = 0.5, pattern = "2:4" }\n'
        "cluster = { clusters = 16 }\n"
    )
    model, _control = load_recipe(recipe_file(text)).models
    assert list(model.compressions) == ["factorize", "prune", "cluster"]
    assert model.label == "gru-8-rank4-pruned50-2of4-clustered16"


@pytest.mark.parametrize(
    ("prune", "label"),
    [
        ("keep = 0.5", "gru-8-kept50"),
        ("keep_inputs = 0.25", "gru-8-inputs25"),
        ("keep = 0.5, keep_inputs = 0.25", "gru-8-kept50-inputs25"),
    ],
)
def test_structured_pruning_names_the_files(recipe_file, prune, label):
    model, _control = load_recipe(recipe_file(GOOD + f"prune = {{ {prune} }}\n")).models
    assert model.label == label


@pytest.mark.parametrize(
    "path",
    # A sweep is no recipe; tests/pipeline/sweep reads those.
    [path for path in sorted(Path("recipes").glob("*.toml")) if "sweep-" not in path.name],
    ids=str,
)
def test_recipes_of_the_project_are_valid(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("epochs", "epoch"), "unknown key 'training.epoch'; did you mean 'epochs'"),
        (GOOD.replace("units", "unit"), "did you mean 'units'"),
        (GOOD + "[benchh]\nsteps = 5\n", "unknown key 'benchh'; did you mean 'bench'"),
        (GOOD.replace("epochs = 3", "epochs = 0"), "'training.epochs' is wrong"),
        (GOOD.replace("epochs = 3", 'epochs = "many"'), "'training.epochs' is wrong"),
        (GOOD.replace('task = "japanese-vowels"', ""), "the key 'task' is missing"),
        (GOOD.replace('"mini"', '"../mini"'), "'name' is wrong"),
        (GOOD + 'name = "../../x"\n', "'models.name' is wrong"),
        (GOOD + 'name = "a/b"\n', "'models.name' is wrong"),
        (GOOD + 'name = ".."\n', "'models.name' is wrong"),
        (GOOD + 'name = ""\n', "'models.name' is wrong"),
        (GOOD + f'name = "{"x" * 200}"\n', "'models.name' is wrong"),
        (GOOD.replace('"gru"', '"../gru"'), "'models.cell' is wrong"),
        (GOOD.split("[[models]]")[0], "the key 'models' is missing"),
        (GOOD + '[[models]]\ncell = "gru"\nunits = 8\n', "two models are called 'gru-8'"),
        (GOOD + "prune = { sparsity = 0.5, keep = 0.5 }\n", "give either sparsity"),
        (GOOD + "prune = { epochs = 5 }\n", "give either sparsity"),
        (
            GOOD + 'distil = { teacher = "gru-9" }\n',
            "learns from 'gru-9', which is not a model above",
        ),
        (GOOD + 'prune = { sparsity = 0.5, pattern = "4:2" }\n', "'models.prune.pattern' is wrong"),
        (
            GOOD.replace("[training]", 'schemes = ["int8:qat"]\n[training]')
            + "cluster = { clusters = 8 }\n",
            "'gru-8-clustered8' is clustered",
        ),
        (GOOD + "prune = { sparsity = 0.5, keep_inputs = 0.5 }\n", "give either sparsity"),
        (GOOD + 'prune = { keep = 0.5, pattern = "2:4" }\n', "a pattern is one of zeros"),
        (GOOD + "prune = { keep_inputs = 1.0 }\n", "keep_inputs = 1.0 takes nothing out"),
        (
            GOOD
            + 'prune = { keep_inputs = 0.5 }\n[[models]]\ncell = "gru"\nunits = 4\n'
            + 'distil = { teacher = "gru-8-inputs50" }\n',
            "'gru-8-inputs50' has lost input channels",
        ),
        (
            GOOD
            + "prune = { keep_inputs = 0.5 }\n"
            + "[training.augmentation]\nrotation = 10\nvectors = [[0, 1, 2]]\n",
            "'gru-8-inputs50' loses input channels",
        ),
        (GOOD + "training = { epoch = 5 }\n", "did you mean 'epochs'"),
        (GOOD + "[training.augmentation]\nrotation = 10\n", "rotation needs 'vectors'"),
        (
            GOOD + "[training.augmentation]\nrotation = 10\nvectors = [[0, 1, 1]]\n",
            "a vector has three different channels",
        ),
        (GOOD + "[training.augmentation]\nstretching = 1\n", "did you mean 'stretch'"),
        (GOOD + "cluster = { clusters = 2 }\n", "'models.cluster.clusters' is wrong"),
        (
            GOOD + 'prune = { sparsity = 0.75, pattern = "2:4" }\n',
            "'models.prune' is wrong: 2:4 has a sparsity of 0.5, not 0.75",
        ),
        (GOOD.replace("[training]", "seeds = [1, 1]\n[training]"), "'seeds' has 1 twice"),
        (GOOD.replace("[training]", "seeds = [-1]\n[training]"), "'seeds' is wrong"),
        (GOOD.replace("[training]", "seeds = []\n[training]"), "'seeds' is wrong"),
        (
            GOOD.replace("[training]", 'schemes = ["int8", "int8"]\n[training]'),
            "'schemes' has 'int8' twice",
        ),
        (
            GOOD.replace("[training]", 'targets = ["cpu", "cpu"]\n[training]'),
            "'targets' has 'cpu' twice",
        ),
        (GOOD.replace("units = 8", "units = 0"), "'models.units"),
        (GOOD.replace("units = 8", "units = []"), "'models.units"),
        (GOOD + "periods = [1, 2]\n", "'gru-8-every-1-2' has 1 recurrence and 2 periods"),
        (GOOD.replace("units = 8", "units = [8, 8]\nperiods = [2, 4]"), "periods begin with 1"),
        (
            GOOD.replace("units = 8", "units = [8, 8]\nperiods = [1, 0]"),
            "'models.periods' is wrong",
        ),
        (
            GOOD.replace("units = 8", "units = [8, 8, 8]\nperiods = [1, 4, 6]"),
            "each is a multiple of the one before",
        ),
        (
            GOOD.replace("units = 8", "units = [8, 8]\nperiods = [1, 2]\nresidual = true"),
            "has 'periods' and 'residual'",
        ),
        (GOOD.replace("units = 8", "units = [8, 4]\nresidual = true"), "must all be the same"),
        (
            GOOD + 'name = "me"\ndistil = { teacher = "me" }\n',
            "'me' learns from itself",
        ),
        pytest.param("a = " + "[" * 20_000, "it is nested too deeply", id="deep list"),
        pytest.param("a = " + "{a = " * 20_000, "it is nested too deeply", id="deep tables"),
        pytest.param("#" * 5_000_000, "larger than any file of settings", id="large"),
        ("name = ", "cannot be read as TOML"),
    ],
)
def test_mistakes_are_answered_in_one_line(recipe_file, text, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file(text))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_recipe_lists_those_that_are_there(recipe_file):
    there = recipe_file(GOOD)
    with pytest.raises(RecipeError, match=r"no such recipe; there are: .*recipe\.toml"):
        load_recipe(there.with_name("other.toml"))


def test_every_listed_compression_is_a_table_of_a_model_with_the_settings_that_it_declares():
    from dataclasses import fields

    from models.compress import COMPRESSIONS, TuningSettings
    from pipeline.recipe import ModelSection
    from pipeline.toml_settings import known_keys

    for name, entry in COMPRESSIONS.items():
        declared = [item.name for one in (entry.settings, TuningSettings) for item in fields(one)]
        assert known_keys(ModelSection, [name]) == declared


def test_a_recipe_is_read_without_tensorflow(recipe_file):
    program = (
        "import sys; from pathlib import Path; from pipeline.recipe import load_recipe; "
        "load_recipe(Path(sys.argv[1])); sys.exit('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(recipe_file(GOOD))]
    assert subprocess.run(command, check=False).returncode == 0
