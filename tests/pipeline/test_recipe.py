"""Recipes: what is accepted, and how a mistake is answered."""

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
    assert [model.label for model in recipe.models] == ["gru-8", "lstm-8-4-pruned75"]
    assert recipe.training.epochs == 3


def test_compressions_name_the_files(recipe_file):
    text = GOOD + (
        'factorize = { rank = 4 }\nprune = { sparsity = 0.5, pattern = "2:4" }\n'
        "cluster = { clusters = 16 }\n"
    )
    (model,) = load_recipe(recipe_file(text)).models
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
    (model,) = load_recipe(recipe_file(GOOD + f"prune = {{ {prune} }}\n")).models
    assert model.label == label


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.toml")), ids=str)
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
        (GOOD.split("[[models]]")[0], "the key 'models' is missing"),
        (GOOD + '[[models]]\ncell = "gru"\nunits = 8\n', "two models are called 'gru-8'"),
        (GOOD + "prune = { sparsity = 0.5, keep = 0.5 }\n", "give either sparsity"),
        (GOOD + "prune = { epochs = 5 }\n", "give either sparsity"),
        (GOOD + 'distil = { teacher = "gru-9" }\n', "learns from 'gru-9', which is no model above"),
        (GOOD + 'prune = { sparsity = 0.5, pattern = "4:2" }\n', "'models.prune.pattern' is wrong"),
        (
            GOOD.replace("[training]", 'schemes = ["int8:qat"]\n[training]')
            + "cluster = { clusters = 8 }\n",
            "'gru-8-clustered8' is clustered",
        ),
        (GOOD + "prune = { sparsity = 0.5, keep_inputs = 0.5 }\n", "give either sparsity"),
        (GOOD + 'prune = { keep = 0.5, pattern = "2:4" }\n', "a pattern is one of zeros"),
        (GOOD + "prune = { keep_inputs = 1.0 }\n", "'models.prune.keep_inputs' is wrong"),
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
        (GOOD + "[training.augmentation]\nstretching = 1\n", "did you mean 'stretch'"),
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
