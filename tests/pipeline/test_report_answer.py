"""What the report's first sentence says of a model of half the size."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.item_scores import ItemScores
from models.metrics import ACCURACY
from pipeline.recipe import load_recipe
from pipeline.report_answer import _half_the_size

RECIPE = load_recipe(Path(__file__).parents[2] / "recipes/demo.toml")
CHOSEN, SMALL = "lstm-128", "simple-rnn-128"
SEQUENCES = 300


def row(model: str, size: int, score: float) -> SimpleNamespace:
    return SimpleNamespace(
        model=model, scheme="int8", file_bytes=size, score=score, valid=True, metric=ACCURACY,
        metrics=SimpleNamespace(validation_score=score),
    )  # fmt: skip


def scores(right: int) -> ItemScores:
    return ItemScores((np.arange(SEQUENCES) < right).astype(float), np.ones(SEQUENCES))


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (297, "changes the accuracy by -1.0 (-2.3 to +0.0) points, no difference"),
        (270, "changes the accuracy by -10.0 (-13.7 to -6.7) points"),
    ],
)
def test_half_the_size_has_an_interval(right, said):
    rows = [row(CHOSEN, 80_000, 1.0), row(SMALL, 26_000, right / SEQUENCES)]
    kept = {
        f"{CHOSEN}-s1-int8.tflite": scores(SEQUENCES),
        f"{SMALL}-s1-int8.tflite": scores(right),
    }
    sentence = _half_the_size(rows[0], rows, SimpleNamespace(recipe=RECIPE, items=kept))
    assert sentence == f"; half the size ({SMALL} int8, 26 kB) {said}"
    bare = _half_the_size(rows[0], rows, SimpleNamespace(recipe=RECIPE, items={}))
    assert bare.endswith(f"changes the accuracy by {100 * (right / SEQUENCES - 1):+.2g} points")
    assert _half_the_size(rows[0], rows[:1], SimpleNamespace(recipe=RECIPE, items=kept)) == ""
