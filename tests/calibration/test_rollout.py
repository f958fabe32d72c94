"""Roll-outs carry the state and see every tensor."""

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.rollout import long_streams, roll_out
from convert.export import float_step
from models.network import recurrences


@pytest.fixture(scope="module")
def lstm_ranges(vowels, trained):
    network, _ = trained("lstm")
    streams = long_streams(vowels.train.sequences, 800, seed=3, streams=2)
    return network, streams, roll_out(float_step(network).flatbuffer, streams)


def test_state_ranges_equal_those_of_the_network_itself(lstm_ranges):
    """Independent roll-out: the Keras cell stepped eagerly over the same streams."""
    network, streams, ranges = lstm_ranges
    cell = recurrences(network)[0].cell
    normalization = network.get_layer("normalization")
    seen = {"h": [], "c": []}
    for stream in streams:
        h = c = np.zeros((1, cell.units), np.float32)
        products = cell.input_product(normalization(stream)).numpy()
        for product in products:
            _, (h, c) = cell.step(product[np.newaxis], (h, c), ())
            seen["h"].append(h)
            seen["c"].append(c)
    for state, values in seen.items():
        out = ranges.tensors[ranges.states[state][1]]
        assert out.role == "state"
        assert out.minimum == pytest.approx(np.min(values), rel=1e-3, abs=1e-3)
        assert out.maximum == pytest.approx(np.max(values), rel=1e-3, abs=1e-3)


def test_input_range_is_that_of_the_data(lstm_ranges):
    _, streams, ranges = lstm_ranges
    (item,) = [item for item in ranges.tensors.values() if item.role == "input"]
    frames = np.concatenate(streams)
    assert (item.minimum, item.maximum) == (frames.min(), frames.max())
    assert sum(item.histogram) == frames.size


def test_every_role_is_seen_and_steps_are_counted(lstm_ranges):
    _, streams, ranges = lstm_ranges
    roles = [item.role for item in ranges.tensors.values()]
    assert roles.count("input") == 1
    assert roles.count("output") == 1
    assert roles.count("state") == 4
    assert roles.count("activation") >= 10
    assert ranges.steps == sum(map(len, streams))
    assert ranges.longest_stream == max(map(len, streams))


def test_long_streams_chain_whole_sequences(vowels):
    sequences = vowels.train.sequences[:5]
    streams = long_streams(sequences, 400, seed=1, streams=2)
    assert [len(stream) >= 200 for stream in streams] == [True, True]
    rest = streams[0]
    while len(rest):
        match = [s for s in sequences if len(s) <= len(rest) and (rest[: len(s)] == s).all()]
        assert match, "the stream is no chain of whole sequences"
        rest = rest[len(match[0]) :]


def test_no_data_and_nan_are_refused(trained):
    network, _ = trained("lstm")
    flatbuffer = float_step(network).flatbuffer
    with pytest.raises(CalibrationError, match="no calibration data"):
        roll_out(flatbuffer, [])
    with pytest.raises(CalibrationError, match="NaN"):
        roll_out(flatbuffer, [np.full((3, 12), np.nan, np.float32)])
