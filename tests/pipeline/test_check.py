"""What cannot work is found before anything is trained, and said in one line."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe
from pipeline.stages.check import Check


def check(folder, task: str = "japanese-vowels", **settings: Any) -> None:
    models = settings.pop("models", [])
    recipe = Recipe.model_validate({"name": "x", "task": task, "models": models, **settings})
    Check(recipe).build(folder, lambda done, total, remark: None)


def gru(**settings: Any) -> dict[str, Any]:
    return {"cell": "gru", "units": 16, **settings}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([gru(options={"reset_aftr": False})], "does not take the option 'reset_aftr'"),
        ([gru(options={"reset_after": "no"})], "is 'no'; write true or false"),
        ([gru(options={"rank": 17})], "rank must be an integer from 1 to units (16)"),
        ([{"cell": "grouped-gru", "units": 10}], "groups must be an integer of 2 or more"),
        (
            [{"cell": "grouped-gru", "units": 10, "options": {"groups": 5, "split_inputs": True}}],
            "12 inputs cannot be split into 5 groups",
        ),
        ([gru(embedding=4)], "an embedding needs a vocabulary"),
        ([gru(factorize={"rank": 16})], "rank 16 saves no parameters"),
        ([{"cell": "min-gru", "units": 16, "factorize": {"rank": 2}}], "no recurrent matrix"),
        (
            [gru(factorize={"rank": 4}), gru(factorize={"rank": 10}, prune={"keep": 0.5})],
            "model 'gru-16-rank10-kept50'",
        ),
        ([{**gru(prune={"sparsity": 0.5, "pattern": "16x1"})}], "no matrix has two or more"),
        ([{"cell": "grouped-gru", "units": 16, "prune": {"keep": 0.5}}], "grouped-gru-16-kept50"),
    ],
)
def test_what_a_network_cannot_be_is_one_line(tmp_path, models, message):
    with pytest.raises(RecipeError) as caught:
        check(tmp_path, models=models)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("model '")


def test_an_augmentation_that_does_not_suit_the_task_is_one_line(tmp_path):
    augmentation = {"rotation": 10, "vectors": [[0, 1, 12]]}
    with pytest.raises(RecipeError) as caught:
        check(tmp_path, models=[gru()], training={"augmentation": augmentation})
    assert "name a channel" in caught.value.message
    assert caught.value.message.startswith("[training.augmentation]: ")


def test_a_task_of_values_teaches_no_pupil(tmp_path):
    pupil = gru(units=8, distil={"teacher": "gru-16"})
    with pytest.raises(RecipeError, match="distillation teaches class probabilities"):
        check(tmp_path, "stocks", models=[gru(), pupil])


def test_what_can_work_passes(tmp_path):
    pupil = gru(units=8, distil={"teacher": "gru-16"}, prune={"keep": 0.5, "keep_inputs": 0.34})
    hierarchical = gru(units=[8, 8], periods=[1, 2])
    chain = gru(factorize={"rank": 8}, prune={"sparsity": 0.5, "pattern": "2:4"},
                cluster={"clusters": 8})  # fmt: skip
    check(tmp_path, models=[gru(), pupil, hierarchical, chain])
