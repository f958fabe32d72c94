"""Front ends by their descriptions, and of some channels alone."""

import numpy as np
import pytest

from device_runner.errors import BadModelError
from device_runner.front_ends import log_mel, lpc_cepstrum, narrowed_front_end, sound_front_end

WHOLE = {
    "log-mel": log_mel.describe(every=2),
    "lpc-cepstrum": {"kind": lpc_cepstrum.KIND},
}


@pytest.fixture
def blocks():
    noise = np.random.default_rng(1).normal(0, 1000, (60, 64)).astype(np.int16)
    return list(noise)


@pytest.mark.parametrize("front_end", WHOLE.values(), ids=WHOLE)
def test_some_channels_alone(front_end, blocks):
    whole = np.array(list(sound_front_end(front_end).frames(blocks)))
    assert len(whole) > 3
    once = narrowed_front_end(front_end, [7, 0, 11])
    twice = narrowed_front_end(once, [2, 0])
    for narrowed, channels in ((once, [7, 0, 11]), (twice, [11, 7])):
        made = sound_front_end(narrowed)
        assert made.sample_rate == sound_front_end(front_end).sample_rate
        np.testing.assert_array_equal(np.array(list(made.frames(blocks))), whole[:, channels])


@pytest.mark.parametrize("kept", [[12], [-1], [0.5], [True], "all", 3])
def test_channels_that_are_not_made_are_refused(kept):
    with pytest.raises(BadModelError, match="0 to 11; export the model again"):
        sound_front_end({**WHOLE["lpc-cepstrum"], "kept_channels": kept})


@pytest.mark.parametrize("front_end", [None, {"kind": "words", "words": []}])
def test_what_is_no_sound_has_no_front_end_of_sound(front_end):
    assert sound_front_end(front_end) is None
