"""The mel front end against what is known of tones and noise, against librosa, and as a stream."""

from __future__ import annotations

import numpy as np
import pytest

from device_runner.errors import BadModelError
from device_runner.front_ends import sound_front_end
from device_runner.front_ends.mel import LOWEST_HZ, NOISE_FLOOR, QUIET_ENERGY, Mel

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


@pytest.mark.parametrize("cepstra", [0, 13])
def test_a_filter_in_the_way_is_taken_off_after_a_while(cepstra):
    """Half the amplitude in all frequencies adds the same to each frame, and so to the mean."""
    sound = (6000 * np.random.default_rng(5).standard_normal(80_000)).astype(np.int16)
    front_end = Mel(RATE, 400, 160, 40, cepstra, mean_frames=50)
    loud, quiet = (np.array(list(front_end.frames([one]))) for one in (sound, sound // 2))
    np.testing.assert_allclose(quiet[-100:], loud[-100:], atol=0.05)
    assert np.abs(quiet[:5] - loud[:5]).max() > 1


def test_the_running_mean_is_the_sum_of_ever_lighter_frames():
    sound = (3000 * np.random.default_rng(6).standard_normal(4500)).astype(np.int16)
    alone = np.array(list(Mel(RATE, 400, 160, 20).frames([sound])))
    found = np.array(list(Mel(RATE, 400, 160, 20, mean_frames=10).frames([sound])))
    shares = 0.1 * 0.9 ** np.arange(len(alone))
    for last in (0, 1, 7, len(alone) - 1):
        of_frames = shares[: last + 1][::-1] @ alone[: last + 1]
        mean = of_frames + 0.9 ** (last + 1) * QUIET_ENERGY
        np.testing.assert_allclose(found[last], alone[last] - mean, atol=1e-4)


def test_differences_follow_the_values():
    sound = (3000 * np.random.default_rng(7).standard_normal(4500)).astype(np.int16)
    sizes = {"window_samples": 400, "hop_samples": 160, "mels": 20, "mean_frames": 10}
    alone = np.array(list(Mel(RATE, **sizes).frames([sound])))
    found = np.array(list(Mel(RATE, **sizes, delta_frames=3).frames([sound])))
    np.testing.assert_array_equal(found[:, :20], alone)
    earlier = np.concatenate([alone[:1].repeat(3, 0), alone[:-3]])
    np.testing.assert_array_equal(found[:, 20:], alone - earlier)


def test_each_stream_follows_its_own_sound():
    front_end = Mel(RATE, 400, 160, 20, mean_frames=10, delta_frames=2)
    sound = (3000 * np.random.default_rng(8).standard_normal(4500)).astype(np.int16)
    first = list(front_end.frames([sound]))
    np.testing.assert_array_equal(list(front_end.frames([sound])), first)


def test_a_contract_of_before_says_nothing_of_means_and_differences():
    description = SIZES.describe()
    assert not {"mean_frames", "delta_frames"} & set(description)
    assert sound_front_end(description).sample_rate == RATE
    following = Mel(RATE, 400, 160, 40, mean_frames=50, delta_frames=2)
    assert {"mean_frames": 50, "delta_frames": 2}.items() <= following.describe().items()
    sound = (3000 * np.random.default_rng(9).standard_normal(2000)).astype(np.int16)
    again = sound_front_end(following.describe())
    np.testing.assert_array_equal(list(again.frames([sound])), list(following.frames([sound])))


@pytest.mark.parametrize(
    "change",
    [{"mels": 1}, {"cepstra": 41}, {"hop_samples": 0}, {"sample_rate": "fast"}, {"mels": True},
     {"mean_frames": -1}, {"delta_frames": 0.5},
     {"window_samples": 1 << 30}],
)  # fmt: skip
def test_sizes_that_fit_no_sound_are_refused(change):
    with pytest.raises(BadModelError, match="fit no sound; export the model again"):
        sound_front_end({**SIZES.describe(), **change})


def test_other_words_are_refused():
    with pytest.raises(BadModelError, match="it must say cepstra, hop_samples, mels"):
        sound_front_end({**SIZES.describe(), "every": 2})
