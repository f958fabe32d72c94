"""Which models of a recipe are compared, controls for what is trained further, and the words."""

import numpy as np
import pytest

from models.item_scores import ItemScores
from models.metrics import ACCURACY
from pipeline.differences import differences
from pipeline.networks import models_by_file
from pipeline.recipe import load_recipe

RECIPE = """
name = "mini"
task = "japanese-vowels"
seeds = [1, 2]
schemes = ["float32", "int8", "int8:qat"]
[qat]
epochs = 20
[[models]]
cell = "gru"
units = 8
[[models]]
cell = "gru"
units = 8
prune = { sparsity = 0.5, epochs = 30 }
[[models]]
cell = "gru"
units = 8
factorize = { rank = 2, epochs = 30 }
[[models]]
cell = "gru"
units = 8
prune = { keep = 0.5, epochs = 30 }
[[models]]
cell = "gru"
units = 4
[[models]]
cell = "lstm"
units = 8
"""
CONTROLS = ["gru-8-longer20-at0.0005", "gru-8-longer30", "gru-8-longer90-by3"]


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "mini.toml").write_text(RECIPE)
    return load_recipe(tmp_path / "mini.toml")


def test_each_fine_tuning_has_its_control_once(recipe):
    labels = [section.label for section in recipe.models]
    assert labels == [
        "gru-8",
        CONTROLS[0],
        "gru-8-pruned50",
        CONTROLS[1],
        "gru-8-rank2",
        "gru-8-kept50",
        CONTROLS[2],
        "gru-4",
        "gru-4-longer20-at0.0005",
        "lstm-8",
        "lstm-8-longer20-at0.0005",
    ]
    by_label = {section.label: section for section in recipe.models}
    control = by_label["gru-8-longer90-by3"].compressions["longer"]
    assert (control.tuning.epochs, control.settings.times) == (30, 3)
    assert [str(one) for one in recipe.schemes_of(by_label[CONTROLS[0]])] == ["float32", "int8"]


def test_a_recipe_may_do_without_controls(tmp_path):
    (tmp_path / "mini.toml").write_text("controls = false\n" + RECIPE)
    recipe = load_recipe(tmp_path / "mini.toml")
    assert not any(section.is_control for section in recipe.models)


def scored(recipe, right):
    """Scores of every file, where ``right(model, scheme)`` of 200 sequences are right."""
    items = {}
    for file, (model, scheme) in models_by_file(recipe).items():
        gained = (np.arange(200) < right(model, scheme)).astype(float)
        items[file] = ItemScores(gained, np.ones(200))
    return items


def test_pairs_that_differ_in_one_thing_are_compared(recipe):
    found = {
        (one.why, one.variant, one.against) for one in differences(recipe, scored(recipe, at_150))
    }
    int8 = "int8"
    for wanted in (
        ("scheme", ("gru-8", int8), ("gru-8", "float32")),
        ("training for it", ("lstm-8", "int8:qat"), ("lstm-8", int8)),
        (
            "training for it, against longer training",
            ("gru-8", "int8:qat"),
            (CONTROLS[0], "float32"),
        ),
        ("prune", ("gru-8-pruned50", int8), ("gru-8", int8)),
        ("prune, against longer training", ("gru-8-pruned50", int8), (CONTROLS[1], int8)),
        ("prune, against longer training", ("gru-8-kept50", int8), (CONTROLS[2], int8)),
        ("prune, against one trained at its size", ("gru-8-kept50", int8), ("gru-4", int8)),
        ("factorize, against longer training", ("gru-8-rank2", int8), (CONTROLS[1], int8)),
        ("longer training", (CONTROLS[1], "float32"), ("gru-8", "float32")),
        ("network", ("lstm-8", "float32"), ("gru-8", "float32")),
    ):
        assert wanted in found


def at_150(model, scheme):
    return 150


def test_words_say_which_is_better_or_neither(recipe):
    def right(model, scheme):
        return {"int8": 120, "int8:qat": 180}.get(scheme, 150)

    words = {
        (one.why, one.variant): one.words(ACCURACY)
        for one in differences(recipe, scored(recipe, right))
    }
    assert words["scheme", ("lstm-8", "int8")] == "worse"
    assert words["training for it", ("lstm-8", "int8:qat")] == "better"
    assert words["network", ("lstm-8", "float32")] == "no difference"


def test_without_scores_of_sequences_nothing_is_compared(recipe):
    assert differences(recipe, {}) == []
