"""Scores of single sequences, and the intervals of differences between two models."""

from dataclasses import replace

import numpy as np
import pytest

from models.confidence import paired_difference
from models.item_scores import ItemScores, item_scores
from models.metrics import (
    ACCURACY,
    EXPLAINED_VARIANCE,
    STEP_ACCURACY,
    WORD_ERROR_RATE,
    Metric,
    bits_per_step,
    mean_absolute_error,
)
from models.tasks import glucose
from models.tasks.sequence_set import SequenceSet

GENERATOR = np.random.default_rng(5)
LENGTHS = (4, 7, 2)
FRAMES = [np.zeros((length, 1), np.float32) for length in LENGTHS]
NONE = np.zeros(3, np.int64)
OUTPUTS = GENERATOR.normal(size=(3, 7, 4)).astype(np.float32)
STEPS = [GENERATOR.integers(-1, 4, length) for length in LENGTHS]
VALUES = [GENERATOR.normal(size=(length, 4)).astype(np.float32) for length in LENGTHS]
CASES = {
    "accuracy": (ACCURACY, {"labels": np.array([0, 3, 1])}),
    "step accuracy": (STEP_ACCURACY, {"step_labels": STEPS}),
    "bits": (Metric("bits", "bits", False, "", bits_per_step), {"step_labels": STEPS}),
    "explained variance": (EXPLAINED_VARIANCE, {"values": VALUES}),
    "absolute error": (Metric("error", "", False, "", mean_absolute_error), {"values": VALUES}),
    "word error rate": (WORD_ERROR_RATE, {"transcripts": [np.array([1, 2])] * 3}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_ratio_of_the_sequences_sums_is_the_metric(name):
    metric, wanted = CASES[name]
    data = SequenceSet(FRAMES, wanted.get("labels", NONE), NONE)
    data = replace(data, **{key: value for key, value in wanted.items() if key != "labels"})
    scores = item_scores(metric, OUTPUTS, data)
    assert scores.score == pytest.approx(metric.compute(OUTPUTS, data), rel=1e-6)
    assert ItemScores.read(scores.to_json()).score == pytest.approx(scores.score, rel=1e-5)


def test_a_metric_of_a_task_gives_its_own_sums():
    metric = Metric(
        "error", "", False, "",
        lambda outputs, data: glucose.mean_error(outputs[..., 0], data),
        lambda outputs, data: glucose.summed_errors(outputs[..., 0], data),
    )  # fmt: skip
    # The last sequence is shorter than what is left out.
    data = SequenceSet(FRAMES, NONE, NONE, values=VALUES)
    scores = item_scores(metric, OUTPUTS, data)
    assert scores.wanted.tolist() == [1, 4, 0]
    assert scores.score == pytest.approx(metric.compute(OUTPUTS, data), rel=1e-6)


def test_a_metric_that_is_no_ratio_has_no_scores_of_sequences():
    odd = Metric("largest", "", True, "", lambda outputs, data: float(outputs.max()))
    assert item_scores(odd, OUTPUTS, SequenceSet(FRAMES, NONE, NONE)) is None


def test_right_and_wrong_take_a_bit_each():
    scores = ItemScores(np.tile([1.0, 0.0], 185), np.ones(370))
    assert len(scores.to_json()["right"]) < 70


@pytest.mark.parametrize(
    "damage", [{"sequences": 99}, {"right": "!"}, {"sequences": "many"}, {"sequences": None}]
)
def test_damaged_scores_are_an_error(damage):
    whole = ItemScores(np.ones(3), np.ones(3)).to_json()
    with pytest.raises((KeyError, ValueError, TypeError)):
        ItemScores.read({**whole, **damage})


def drawn(share, generator, sequences=370):
    return ItemScores((generator.random(sequences) < share).astype(float), np.ones(sequences))


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not():
    generator = np.random.default_rng(2)
    good, bad = ([drawn(share, generator) for _ in range(3)] for share in (0.97, 0.85))
    found = paired_difference(good, bad)
    assert found.low > 0.05
    assert not found.holds_zero
    again = paired_difference(good, [drawn(0.97, generator) for _ in range(3)])
    assert again.holds_zero
    assert again.text(ACCURACY).endswith("no difference")


def test_the_interval_of_one_seed_is_that_of_the_sign_counts():
    """Against the normal approximation for paired proportions (McNemar)."""
    sequences, gained, lost = 1000, 60, 20
    base = np.ones(sequences)
    ours, theirs = base.copy(), base.copy()
    theirs[:gained] = 0
    ours[gained : gained + lost] = 0
    found = paired_difference([ItemScores(ours, base)], [ItemScores(theirs, base)])
    value = (gained - lost) / sequences
    deviation = np.sqrt((gained + lost) / sequences - value**2) / np.sqrt(sequences)
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(value - 1.96 * deviation, abs=2e-3)
    assert found.high == pytest.approx(value + 1.96 * deviation, abs=2e-3)


def test_it_covers_the_truth_about_as_often_as_it_says():
    """Both models are right at the same rate; zero should be inside at about 95 of 100."""
    generator = np.random.default_rng(7)
    inside = sum(
        paired_difference(
            [drawn(0.9, generator, 200)], [drawn(0.9, generator, 200)], draws=500
        ).holds_zero
        for _ in range(100)
    )
    assert 88 <= inside <= 100


def test_models_of_other_sequences_or_seeds_are_not_compared():
    ten, twelve = (ItemScores(np.ones(n), np.ones(n)) for n in (10, 12))
    for ours, theirs in (([ten], [twelve]), ([ten], [ten, ten]), ([], [])):
        with pytest.raises(ValueError, match="same"):
            paired_difference(ours, theirs)
