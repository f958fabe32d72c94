"""The magnitude of an 8-bit state is the one that does the least harm."""

import numpy as np
import pytest
import tensorflow as tf

from calibration.rollout import long_streams, roll_out
from calibration.state_magnitudes import MARGIN, SHARES
from convert.export import float_step
from models.network import recurrences
from tests.hand_made_steps import Made


@pytest.fixture(scope="module")
def lstm(vowels, trained):
    network, _ = trained("lstm")
    streams = long_streams(vowels.train.sequences, 600, seed=5, streams=2)
    return network, streams


def _errors(network, streams, magnitudes):
    """Independent of the interpreter: the Keras cell stepped eagerly, all magnitudes as one batch,
    row 0 without rounding. Mean squared error of the network's outputs by magnitude."""
    cell = recurrences(network)[0].cell
    head = network.layers[-1]
    steps = np.array(magnitudes)[:, np.newaxis] / 128
    errors = np.zeros(len(magnitudes))
    for stream in streams:
        h = c = np.zeros((len(magnitudes) + 1, cell.units), np.float32)
        products = cell.input_product(network.get_layer("normalization")(stream)).numpy()
        for product in products:
            y, (h, c) = cell.step(np.repeat(product[np.newaxis], len(h), 0), (h, c), ())
            y, c = head(y).numpy(), np.array(c)
            errors += np.mean((y[1:] - y[0]) ** 2, axis=-1)
            c[1:] = np.clip(np.rint(c[1:] / steps), -128, 127) * steps
    return errors / sum(map(len, streams))


def test_the_choice_is_the_best_of_an_independent_trial(lstm):
    network, streams = lstm
    ranges = roll_out(float_step(network).flatbuffer, streams, bounded=["h"])
    assert set(ranges.magnitudes) == {"c"}
    candidates = [share * ranges.state_magnitude("c") for share in SHARES]
    errors = _errors(network, streams, candidates)
    chosen = int(np.argmin(np.abs(np.array(candidates) - ranges.magnitudes["c"])))
    assert ranges.magnitudes["c"] == pytest.approx(candidates[chosen], rel=1e-4)
    # Ties within float rounding may fall either way.
    assert errors[chosen] <= 1.01 * errors.min()
    assert errors.max() > 2 * errors.min()


def test_bounded_states_need_no_trial_and_progress_counts_both_passes(lstm):
    network, streams = lstm
    seen = []
    flatbuffer = float_step(network).flatbuffer
    ranges = roll_out(flatbuffer, streams, lambda *now: seen.append(now), bounded=["h", "c"])
    assert not ranges.magnitudes
    assert seen[-1] == (ranges.steps, ranges.steps)
    seen.clear()
    roll_out(flatbuffer, streams, lambda *now: seen.append(now), bounded=["h"])
    assert seen[-1] == (2 * ranges.steps, 2 * ranges.steps)
    assert seen == sorted(seen)


def _delayed(x, s):
    """Gives the frame before, so that all of the state counts."""
    return {"y": s + 0.5 * s, "s": x + 0.0 * s}


DELAYED = Made(
    _delayed, {"x": tf.TensorSpec((1, 2), tf.float32)}, {"s": tf.TensorSpec((1, 2), tf.float32)}
)


def test_where_clipping_does_harm_nothing_is_clipped():
    frames = np.random.default_rng(0).choice([-3.0, 0.1, 3.0], (300, 2)).astype(np.float32)
    ranges = roll_out(DELAYED.float_step().flatbuffer, [frames])
    assert ranges.magnitudes == {"s": pytest.approx(MARGIN * 3.0)}


def test_a_state_that_never_moves_needs_no_trial():
    ranges = roll_out(DELAYED.float_step().flatbuffer, [np.zeros((20, 2), np.float32)])
    assert ranges.magnitudes == {}
