"""Metrics against sums by hand; how their values are told; baselines."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.baselines import task_baselines
from models.metrics import (
    ACCURACY,
    EXPLAINED_VARIANCE,
    STEP_ACCURACY,
    Metric,
    MetricDescription,
    accuracy,
    bits_per_step,
    described,
    mean_absolute_error,
    step_accuracy,
    usual_metric,
)
from models.tasks.sequence_set import SequenceSet

MAE = Metric("mean absolute error", "mg/dL", False, "", mean_absolute_error)


def labelled_steps():
    """Two sequences of three and two steps, three classes; some steps want none."""
    none = np.zeros(2, np.int64)
    sequences = [np.zeros((3, 1), np.float32), np.zeros((2, 1), np.float32)]
    data = SequenceSet(sequences, none, none, step_labels=[np.array([0, -1, 2]), np.array([1, 1])])
    outputs = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)
    return outputs, data


def test_step_metrics_count_the_wanted_steps_alone():
    outputs, data = labelled_steps()
    wanted = [(0, 0, 0), (0, 2, 2), (1, 0, 1), (1, 1, 1)]
    right, bits = [], []
    for sequence, step, label in wanted:
        shares = np.exp(outputs[sequence, step]) / np.exp(outputs[sequence, step]).sum()
        right.append(shares.argmax() == label)
        bits.append(-math.log2(shares[label]))
    assert step_accuracy(outputs, data) == pytest.approx(np.mean(right))
    assert bits_per_step(outputs, data) == pytest.approx(np.mean(bits), rel=1e-5)


def test_accuracy_is_that_of_the_last_step():
    labels = np.array([1, 0])
    data = SequenceSet([np.zeros((2, 1)), np.zeros((1, 1))], labels, np.zeros(2, np.int64))
    outputs = np.array([[[9, 0], [0, 1]], [[1, 0], [0, 9]]], np.float32)
    assert accuracy(outputs, data) == 1


def test_mean_absolute_error_ignores_what_comes_after_the_end():
    none = np.zeros(2, np.int64)
    values = [np.array([[1.0], [2.0]], np.float32), np.array([[5.0]], np.float32)]
    data = SequenceSet([v * 0 for v in values], none, none, values)
    outputs = np.array([[[2.0], [2.0]], [[2.0], [999.0]]], np.float32)
    assert mean_absolute_error(outputs, data) == pytest.approx(4 / 3)


def test_the_usual_metric_follows_what_is_wanted(vowels):
    _, data = labelled_steps()
    assert usual_metric(vowels.test) is ACCURACY
    assert usual_metric(data) is STEP_ACCURACY
    assert usual_metric(replace(vowels.test, values=vowels.test.sequences)) is EXPLAINED_VARIANCE
    assert replace(vowels, metric=MAE).score is MAE


def test_values_are_told_with_their_unit():
    assert ACCURACY.text(0.9731) == "97.3%"
    assert ACCURACY.shown(0.9731) == pytest.approx(97.31)
    assert MAE.text(17.8234) == "17.82 mg/dL"
    assert MetricDescription("score", "", True).text(0.5) == "0.5"
    assert MAE.key == "mean_absolute_error"
    assert MAE.rounded(115.32871) == 115.3287
    assert MAE.rounded(0.00123456) == 0.001235
    assert ACCURACY.rounded(355 / 370) == 0.959459
    assert ACCURACY.text(ACCURACY.rounded(355 / 370)) == "95.9%"  # 96.0 if it were 0.9595


def test_a_loss_is_a_change_for_the_worse():
    assert ACCURACY.lost(0.9, 0.95) == pytest.approx(0.05)
    assert MAE.lost(18.0, 17.0) == pytest.approx(1.0)
    assert MAE.lost(16.0, 17.0) == pytest.approx(-1.0)


def test_a_contract_says_what_its_metrics_are():
    assert described({"metric": MAE.facts()}).unit == "mg/dL"
    assert described({"accuracy": 0.9}).name == "accuracy"
    assert described({"explained_variance": 0.9}).name == "explained variance"


# Baselines


def test_baselines_of_labelled_sequences(vowels):
    # A third of the training data is enough to tell the speakers apart.
    train = vowels.train.select(np.arange(0, len(vowels.train), 3))
    majority, linear = task_baselines(replace(vowels, train=train))
    share = np.bincount(vowels.test.labels).max() / len(vowels.test)
    assert majority.value <= share
    assert linear.value > 0.8
    assert majority.by_group == linear.by_group == {}


def test_baselines_by_group_are_parts_of_the_whole(vowels):
    groups = np.arange(len(vowels.test)) % 2
    # A sixth of the training data: what is learned does not matter here.
    train = vowels.train.select(np.arange(0, len(vowels.train), 6))
    test = replace(vowels.test, groups=groups)
    task = replace(vowels, group_name="half", train=train, test=test)
    for baseline in task_baselines(task):
        assert set(baseline.by_group) == {"0", "1"}
        assert np.mean(list(baseline.by_group.values())) == pytest.approx(baseline.value)


def test_baseline_of_values_is_their_mean(vowels):
    def with_values(data):
        return replace(data, values=[s[:, :1] for s in data.sequences])

    task = replace(
        vowels,
        train=with_values(vowels.train),
        test=with_values(vowels.test),
        metric=MAE,
    )
    (baseline,) = task_baselines(task)
    mean = np.concatenate(task.train.values).mean()
    expected = np.abs(np.concatenate(task.test.values) - mean).mean()
    assert baseline.value == pytest.approx(expected, rel=1e-4)


def test_baseline_of_labelled_steps_is_the_most_frequent(vowels):
    def with_labels(data):
        labels = [np.full(len(s), -1) for s in data.sequences]
        for number, wanted in enumerate(labels):
            wanted[-2:] = 4 if number % 3 else 7
        return replace(data, step_labels=labels)

    task = replace(vowels, train=with_labels(vowels.train), test=with_labels(vowels.test))
    (baseline,) = task_baselines(task)
    frequent = np.mean([number % 3 != 0 for number in range(len(task.test))])
    assert baseline.value == pytest.approx(frequent)


def test_a_tasks_own_baselines_come_first(vowels):
    task = replace(vowels, baselines=lambda task: {"coin": 0.5})
    assert [(b.name, b.value) for b in task_baselines(task)] == [("coin", 0.5)]
