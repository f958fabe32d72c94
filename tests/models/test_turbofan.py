"""Engines that run to failure, from a file of the layout of the real one; and the real one."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from models.errors import MissingDataError
from models.tasks import turbofan


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a source distribution of that layout into a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def write(training, test):
        path = tmp_path / "edgestep" / turbofan.DISTRIBUTION.name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            for name, rows in ((turbofan.TRAINING, training), (turbofan.TEST, test)):
                text = "\n".join(["unit_nr;time_cycles;s_11;s_discretized;RUL", *rows]).encode()
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found = replace(turbofan.DISTRIBUTION, sha256=digest)
        monkeypatch.setattr(turbofan, "DISTRIBUTION", found)

    return write


def rows(number, flights, pressure=4750):
    """An engine's lines, from its first flight to its last."""
    return [f"{number};{1 + i};{pressure + i};5;{flights - 1 - i}" for i in range(flights)]


def test_engines_keep_their_flights_and_every_sixth_validates(write):
    training = [line for number in range(1, 13) for line in rows(number, 130 + number)]
    write(training, rows(20, 3) + rows(21, 140))
    task = turbofan.load()
    assert task.train.groups.tolist() == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert task.validation.groups.tolist() == [6, 12]
    assert task.test.lengths.tolist() == [3, 140]
    np.testing.assert_allclose(task.test.sequences[0][:, 0], [0, 0.01, 0.02], atol=1e-6)
    assert task.test.values[0].tolist() == [[2], [1], [0]]
    # Long before the failure the number of flights that are left is held at the largest.
    assert task.test.values[1][:20, 0].tolist() == [*[125] * 15, 124, 123, 122, 121, 120]
    assert set(task.baselines(task)) == {
        "training mean", "linear on age", "linear on age and mean pressures",
    }  # fmt: skip


def test_an_engine_that_is_not_counted_down_is_refused(write):
    write(rows(1, 4)[:-1], rows(2, 3))
    with pytest.raises(MissingDataError, match="not counted down"):
        turbofan.load()


@pytest.mark.slow
def test_the_real_engines():
    task = turbofan.load()
    assert (len(task.train), len(task.validation), len(task.test)) == (67, 13, 20)
    assert sum(data.lengths.sum() for data in (task.train, task.validation, task.test)) == 20_631
    assert not set(task.train.groups) & set(task.validation.groups) & set(task.test.groups)
