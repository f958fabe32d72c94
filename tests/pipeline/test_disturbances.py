"""What arrives at a model when frames are lost, late or doubled, and values and bits change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.robustness.bit_flips import flip
from pipeline.robustness.disturbances import DISTURBANCES, Acts, Delivery, deliver

IN_TIME = {name: one for name, one in DISTURBANCES.items() if one.acts is Acts.TIME}
OF_VALUES = {name: one for name, one in DISTURBANCES.items() if one.acts is Acts.VALUES}


def random(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", IN_TIME)
@given(count=st.integers(1, 60), severity=st.sampled_from([0.0, 0.05, 0.4]), seed=st.integers(0, 9))
def test_a_frame_never_arrives_before_it_was_taken(name, count, severity, seed):
    delivery = IN_TIME[name].time(count, severity, random(seed))
    assert len(delivery.newest) == count
    assert np.all(np.diff(delivery.newest) >= 0)
    told = delivery.newest >= 0
    assert np.all(delivery.positions[delivery.newest[told]] <= np.arange(count)[told] + 1e-6)
    assert delivery.newest.max() < len(delivery.positions)
    if severity == 0:
        assert delivery.positions.tolist() == list(range(count))
        assert delivery.newest.tolist() == list(range(count))


def test_dropped_late_and_repeated_frames():
    frames = {"x": np.arange(1000, dtype=np.float32)[:, None]}

    def arrived(name):
        delivery = IN_TIME[name].time(1000, 0.2, random())
        return deliver(frames, delivery)["x"][:, 0], delivery

    dropped, _ = arrived("dropped frames")
    assert 700 < len(dropped) < 900
    assert len(set(dropped)) == len(dropped)
    late, _ = arrived("late frames")
    assert len(late) == 1000
    assert 750 < len(set(late)) < 850
    repeated, delivery = arrived("repeated frames")
    assert 1150 < len(repeated) < 1250
    assert repeated[delivery.newest].tolist() == list(range(1000))


@pytest.mark.parametrize(("name", "frames"), [("slower sensor", 61), ("faster sensor", 140)])
def test_another_rate_interpolates_values_and_takes_the_nearest_token(name, frames):
    given = {"x": np.arange(101.0)[:, None], "ids": np.arange(101, dtype=np.int32)[:, None]}
    taken = deliver(given, IN_TIME[name].time(101, 0.4, random()))
    assert abs(len(taken["x"]) - frames) <= 1
    rate = 0.6 if name == "slower sensor" else 1.4
    np.testing.assert_allclose(np.diff(taken["x"][:, 0]), 1 / rate, rtol=1e-6)
    assert taken["ids"].dtype == np.int32
    np.testing.assert_allclose(taken["ids"], taken["x"], atol=0.5)


@pytest.mark.parametrize("name", OF_VALUES)
def test_severity_0_of_values_changes_at_most_one_channel(name):
    x = random().normal(size=(30, 4))
    changed = OF_VALUES[name].values(x, 0.0, x.std(0), random())
    # A stuck or dead channel is one at least.
    assert (changed != x).any(0).sum() <= (1 if "channels" in name else 0)


def test_values_are_disturbed_by_what_is_stated():
    x = random().normal(size=(5000, 4)) * [1, 10, 100, 1000]
    deviation = x.std(0)
    noisy = OF_VALUES["noise"].values(x, 0.5, deviation, random()) - x
    np.testing.assert_allclose(noisy.std(0), 0.5 * deviation, rtol=0.05)
    moved = OF_VALUES["offset"].values(x, 0.5, deviation, random()) - x
    np.testing.assert_allclose(np.abs(moved), np.tile(0.5 * deviation, (5000, 1)))
    stronger = OF_VALUES["gain"].values(x, 0.2, deviation, random()) / x
    np.testing.assert_allclose(np.abs(stronger - 1), 0.2)
    stuck = OF_VALUES["stuck channels"].values(x, 0.5, deviation, random())
    assert (np.ptp(stuck, 0) == 0).sum() == 2
    dead = OF_VALUES["dead channels"].values(x, 0.5, deviation, random())
    assert (dead == 0).all(0).sum() == 2


def test_interpolation_keeps_the_dtype_and_the_ends():
    frames = {"x": np.array([[0.0], [2.0]], np.float32)}
    taken = deliver(frames, Delivery(np.array([0.0, 0.5, 1.0]), np.array([0, 2])))
    assert taken["x"].dtype == np.float32
    assert taken["x"][:, 0].tolist() == [0, 1, 2]


def test_bits_flip_as_often_as_stated():
    stored = bytes(100_000)
    flipped = np.unpackbits(np.frombuffer(flip(stored, 1e-3, random()), np.uint8))
    assert 600 < flipped.sum() < 1000
    assert flip(stored, 0.0, random()) == stored
    assert flip(stored, 1.0, random()) == b"\xff" * len(stored)
