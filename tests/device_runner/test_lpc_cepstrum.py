"""The front end against what is known of all-pole signals, and against the data set itself."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.front_ends.lpc_cepstrum import (
    FRAME_SAMPLES,
    ORDER,
    SHIFT_SAMPLES,
    cepstra,
    cepstrum,
)

# A formant each at 700, 1800 and 2600 Hz, as of a vowel, at 10 kHz.
POLES = 0.95 * np.exp(2j * np.pi * np.array([700, 1800, 2600]) / 10_000)


def predictor() -> np.ndarray:
    return -np.poly(np.concatenate([POLES, POLES.conj()])).real[1:]


def vowel(samples: int, seed: int = 1) -> np.ndarray:
    """White noise through the formants."""
    noise = np.random.default_rng(seed).standard_normal(samples + 500)
    sound, weights = np.zeros(len(noise)), predictor()
    for t in range(len(weights), len(noise)):
        sound[t] = weights @ sound[t - len(weights) : t][::-1] + noise[t]
    return sound[500:] / 100


def test_cepstrum_of_an_all_pole_signal_is_that_of_its_poles():
    # The cepstrum of 1 / prod(1 - p z^-1) is sum(p^n) / n.
    poles = np.concatenate([POLES, POLES.conj()])
    expected = [(poles**n).sum().real / n for n in range(1, ORDER + 1)]
    np.testing.assert_allclose(cepstrum(vowel(60_000)), expected, atol=0.03)


def test_loudness_does_not_matter():
    # Down to where the noise floor of 16-bit samples shows.
    frame = 10 * vowel(FRAME_SAMPLES)
    np.testing.assert_allclose(cepstrum(0.3 * frame), cepstrum(frame), atol=0.02)


def test_silence_has_a_finite_cepstrum():
    np.testing.assert_allclose(cepstrum(np.zeros(FRAME_SAMPLES)), np.zeros(ORDER), atol=1e-9)


@pytest.mark.parametrize("block", [1, 64, 100, 5000])
def test_frames_do_not_depend_on_how_the_sound_comes(block):
    sound = vowel(2000)
    found = list(cepstra(np.split(sound, range(block, len(sound), block))))
    starts = range(0, len(sound) - FRAME_SAMPLES + 1, SHIFT_SAMPLES)
    expected = [cepstrum(sound[start : start + FRAME_SAMPLES]) for start in starts]
    np.testing.assert_array_equal(found, expected)


def test_values_are_of_the_data_sets_kind(vowels):
    """A synthetic vowel lies within what the real recordings span, give or take a spread."""
    frames = np.concatenate(vowels.train.sequences)
    spread = np.ptp(frames, axis=0)
    found = cepstrum(vowel(FRAME_SAMPLES))
    assert (found > frames.min(0) - spread).all()
    assert (found < frames.max(0) + spread).all()
