"""The step graph computes what the network computes on whole sequences."""

import numpy as np
import pytest
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.step import StepModule, to_float_graph
from device_runner.contract import load_step_model
from device_runner.flatbuffer import read_graph
from device_runner.stream import Stream
from models.network import Architecture, Normalization
from models.training import predict
from tests.conftest import CELL_NAMES, VARIANTS


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
def test_stepped_equals_the_network_on_20_real_sequences(
    step_models, trained, vowels, cell, options
):
    stream = Stream(step_models(cell, "float32", **options), "litert")
    network, _ = trained(cell, **options)
    data = vowels.test.select(np.arange(20))
    whole = predict(network, data)
    for sequence, expected in zip(data.sequences, whole, strict=True):
        stream.reset()
        np.testing.assert_allclose(stream.run(sequence), expected[: len(sequence)], atol=1e-4)


def test_two_recurrences_have_numbered_states_and_step_right(vowels):
    keras.utils.set_random_seed(4)
    network = Architecture("gru", (8, 6), 12, 9).build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    module = StepModule(network)
    assert module.state_sizes == {"h_0": 8, "h_1": 6}
    sequence = vowels.test.sequences[0]
    states = [np.zeros((1, size), np.float32) for size in module.state_sizes.values()]
    stepped = []
    for frame in sequence:
        results = module.step(frame[np.newaxis], *states)
        states = [results[name] for name in module.state_sizes]
        stepped.append(results["y"].numpy()[0])
    whole = network(sequence[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(stepped, whole, atol=1e-5)


def test_normalization_costs_no_operator(vowels):
    network = Architecture("simple-rnn", (8,), 12, 9).build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    names = [op.name for op in read_graph(to_float_graph(StepModule(network))).operators]
    assert sorted(names) == ["ADD", "FULLY_CONNECTED", "FULLY_CONNECTED", "FULLY_CONNECTED", "TANH"]


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_input_and_state_have_products_of_their_own(step_models, cell):
    """Joined over [x, h] they would share one quantization, which ruins the state."""
    graph = load_step_model(step_models(cell, "float32")).graph
    signature = graph.signature("step")
    fed = [op.inputs[0] for op in graph.operators if op.name == "FULLY_CONNECTED"]
    assert signature.inputs["x"] in fed
    assert signature.inputs["h"] in fed
    assert "CONCATENATION" not in {op.name for op in graph.operators}


def test_a_layer_that_cannot_be_stepped_is_named():
    network = keras.Sequential(
        [
            keras.layers.InputLayer((None, 3)),
            Normalization(),
            keras.layers.Conv1D(4, 3, name="smoothing"),
        ]
    )
    with pytest.raises(UnsupportedLayerError, match=r"'smoothing' \(Conv1D\)"):
        StepModule(network)
