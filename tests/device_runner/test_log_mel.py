"""The front end of sound against what is known of its filters, and against itself as a stream."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from device_runner.errors import BadInputError, BadModelError, MissingRuntimeError
from device_runner.front_ends.log_mel import (
    CHANNELS,
    HIGHEST_HZ,
    HOP_SAMPLES,
    LOWEST_HZ,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    LogMel,
    describe,
    log_mel,
)

NOISE = (1000 * np.random.default_rng(1).standard_normal(SAMPLE_RATE)).astype(np.int16)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (8000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def mel(hertz: float) -> float:
    return 1127 * np.log(1 + hertz / 700)


def test_a_second_has_a_frame_every_10_ms_from_the_first_whole_window():
    frames = LogMel(describe())(NOISE)
    assert frames.shape == ((SAMPLE_RATE - WINDOW_SAMPLES) // HOP_SAMPLES + 1, CHANNELS)
    assert frames.dtype == np.float32
    assert frames.min() >= 0


@pytest.mark.parametrize("hertz", [300, 700, 1500, 3000, 6000])
def test_a_tone_is_loudest_in_the_channel_of_its_mel_frequency(hertz):
    # 40 triangles between the lowest and the highest frequency, evenly on the mel scale.
    width = (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) / (CHANNELS + 1)
    expected = (mel(hertz) - mel(LOWEST_HZ)) / width - 1
    first = LogMel(describe())(tone(hertz))[0]
    assert abs(int(first.argmax()) - expected) <= 1


def test_a_steady_sound_fades():
    """The noise reduction takes a second to follow, which the tasks' loader reckons with."""
    frames = LogMel(describe())(np.tile(NOISE, 3))
    assert frames[-50:].mean() < 0.3 * frames[:5].mean()
    assert abs(frames[110:150].mean() - frames[-50:].mean()) < 0.1 * frames[:5].mean()


@pytest.mark.parametrize("block", [1, 100, 160, 5000])
@pytest.mark.parametrize("every", [1, 2])
def test_frames_do_not_depend_on_how_the_sound_comes(block, every):
    sound = NOISE[:4000]
    whole = LogMel(describe(every))(sound)
    blocks = np.split(sound, range(block, len(sound), block))
    np.testing.assert_array_equal(list(log_mel(blocks, describe(every))), whole)
    np.testing.assert_array_equal(whole, LogMel(describe())(sound)[::every])


def test_after_a_reset_everything_is_forgotten():
    front_end = LogMel(describe(2))
    first = front_end(NOISE[:5001])
    front_end.reset()
    np.testing.assert_array_equal(front_end(NOISE[:5001]), first)


def test_sound_of_floats_is_refused():
    with pytest.raises(BadInputError, match="16-bit samples are needed"):
        LogMel(describe())(NOISE / 32768)


@pytest.mark.parametrize(
    "change", [{"channels": 41}, {"every": 0}, {"every": True}, {"every": None}, {"new": 1}]
)
def test_another_front_end_is_refused(change):
    with pytest.raises(BadModelError, match="is not the log-mel front end"):
        LogMel({**describe(), **change})


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymicro_features", None)
    with pytest.raises(MissingRuntimeError, match="pip install pymicro-features"):
        LogMel(describe())
