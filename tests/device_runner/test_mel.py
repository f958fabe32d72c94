"""The mel front end against what is known of tones and noise, against librosa, and as a stream."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.errors import BadModelError
from device_runner.front_ends import sound_front_end
from device_runner.front_ends.mel import LOWEST_HZ, NOISE_FLOOR, Mel

RATE = 16_000
SIZES = Mel(RATE, window_samples=400, hop_samples=160, mels=40)


def mel(hertz):
    return 1127 * np.log1p(hertz / 700)


@pytest.mark.parametrize("hertz", [200, 700, 1500, 3000, 6000])
@pytest.mark.parametrize("mels", [10, 40, 100])
def test_a_tone_is_loudest_in_the_channel_of_its_mel_frequency(hertz, mels):
    front_end = Mel(RATE, 400, 160, mels)
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(400) / RATE)
    width = (mel(RATE / 2) - mel(LOWEST_HZ)) / (mels + 1)
    expected = (mel(hertz) - mel(LOWEST_HZ)) / width - 1
    # A window of 25 ms tells frequencies apart by 40 Hz, some channels at its lower end.
    allowed = max(1, round(mels / 40))
    assert abs(int(front_end.frame(tone).argmax()) - expected) <= allowed


@pytest.mark.parametrize("window", [160, 400, 1000])
def test_noise_has_its_variance_in_each_channel_whatever_the_window(window):
    front_end = Mel(RATE, window, 160, 20)
    noise = 0.1 * np.random.default_rng(1).standard_normal((300, window))
    powers = np.exp([front_end.frame(one) for one in noise]).mean(0)
    np.testing.assert_allclose(powers, 0.01, rtol=0.25)


def test_energies_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    sound = np.random.default_rng(2).standard_normal(400)
    front_end = Mel(RATE, 400, 160, 40)
    filters = librosa.filters.mel(
        sr=RATE, n_fft=512, n_mels=40, fmin=LOWEST_HZ, fmax=RATE / 2, htk=True, norm=None
    )
    filters /= filters.sum(1, keepdims=True)
    window = np.hanning(402)[1:-1]
    spectrum = np.fft.rfft(sound * window / np.linalg.norm(window), 512)
    wanted = np.log(filters @ np.abs(spectrum) ** 2 + NOISE_FLOOR)
    np.testing.assert_allclose(front_end.frame(sound), wanted, atol=1e-4)


def test_all_cepstra_hold_what_the_energies_hold():
    sound = np.random.default_rng(3).standard_normal(400)
    energies = SIZES.frame(sound)
    cepstra = Mel(RATE, 400, 160, 40, cepstra=40).frame(sound)
    np.testing.assert_allclose(np.linalg.norm(cepstra), np.linalg.norm(energies), rtol=1e-5)
    assert cepstra[0] == pytest.approx(energies.mean() * np.sqrt(40), rel=1e-5)
    np.testing.assert_allclose(Mel(RATE, 400, 160, 40, 13).frame(sound), cepstra[:13], rtol=1e-6)


def test_silence_is_finite():
    assert np.isfinite(SIZES.frame(np.zeros(400))).all()


@pytest.mark.parametrize("block", [1, 64, 100, 5000])
@pytest.mark.parametrize("hop", [160, 400, 1000])
def test_frames_do_not_depend_on_how_the_sound_comes(block, hop):
    sound = (3000 * np.random.default_rng(4).standard_normal(4500)).astype(np.int16)
    front_end = Mel(RATE, 400, hop, 10, 5)
    found = list(front_end.frames(np.split(sound, range(block, len(sound), block))))
    starts = range(0, len(sound) - 400 + 1, hop)
    wanted = [front_end.frame(sound[start : start + 400] / 32768) for start in starts]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "change",
    [{"mels": 1}, {"cepstra": 41}, {"hop_samples": 0}, {"sample_rate": "fast"}, {"mels": True},
     {"window_samples": 1 << 30}],
)  # fmt: skip
def test_sizes_that_fit_no_sound_are_refused(change):
    with pytest.raises(BadModelError, match="fit no sound; export the model again"):
        sound_front_end({**SIZES.describe(), **change})


def test_other_words_are_refused():
    with pytest.raises(BadModelError, match="it must say cepstra, hop_samples, mels"):
        sound_front_end({**SIZES.describe(), "every": 2})
