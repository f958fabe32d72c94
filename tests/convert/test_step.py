"""The step graph computes what the network computes on whole sequences."""

import numpy as np
import pytest
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule, to_float_graph
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from models.layers import Normalization, Recurrence
from models.network import Architecture
from models.prediction import predict
from tests.conftest import CELL_NAMES, EACH_VARIANT, slow_but_some_cells


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
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
    module = StepModule(keras_step_graph(network))
    assert {name: state.shape for name, state in module.states.items()} == {
        "h_0": (8,),
        "h_1": (6,),
    }
    sequence = vowels.test.sequences[0]
    states = [np.zeros((1, *state.shape), np.float32) for state in module.states.values()]
    stepped = []
    for frame in sequence:
        results = module.step(frame[np.newaxis], *states)
        states = [results[name] for name in module.states]
        stepped.append(results["y"].numpy()[0])
    whole = network(sequence[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(stepped, whole, atol=1e-5)


def stepped(module, inputs):
    """Outputs of every step: inputs by name, each [steps, ...] -> outputs by name."""
    states = {
        name: np.zeros((1, *state.shape), np.float32) for name, state in module.states.items()
    }
    given = {name: [] for name in module.outputs}
    for frame in zip(*(inputs[item.name] for item in module.inputs), strict=True):
        results = module.step(*(value[np.newaxis] for value in frame), *states.values())
        states = {name: results[name] for name in states}
        for name in module.outputs:
            given[name].append(results[name].numpy()[0])
    return {name: np.array(values) for name, values in given.items()}


def test_residual_recurrences_of_tokens(vowels):
    keras.utils.set_random_seed(5)
    network = Architecture(
        "lstm", (8, 8, 8), 1, 3, vocabulary=11, embedding=5, residual=True
    ).build()
    module = StepModule(keras_step_graph(network))
    assert (module.inputs[0].shape, module.inputs[0].vocabulary) == ((1, 1), 11)
    tokens = np.random.default_rng(1).integers(0, 11, (20, 1)).astype(np.int32)
    whole = network(tokens[np.newaxis]).numpy()[0]
    np.testing.assert_allclose(stepped(module, {"x": tokens})["y"], whole, atol=1e-5)
    # The residual is really there: without it the network computes something else.
    without = Architecture("lstm", (8, 8, 8), 1, 3, vocabulary=11, embedding=5).build()
    without.set_weights(network.get_weights())
    assert np.abs(without(tokens[np.newaxis]).numpy()[0] - whole).max() > 1e-3


def test_a_graph_with_two_inputs_two_outputs_and_a_model_within_a_model():
    keras.utils.set_random_seed(6)
    inner = keras.Sequential(
        [keras.layers.InputLayer((None, 4)), Recurrence("gru", 6, name="inner")], name="encoder"
    )
    first, second = keras.Input((None, 4), name="watch"), keras.Input((None, 3), name="phone")
    both = keras.layers.Add()([keras.layers.Dense(5)(inner(first)), keras.layers.Dense(5)(second)])
    out = Recurrence("lstm", 7)(both)
    network = keras.Model(
        [first, second],
        [keras.layers.Dense(2, name="score")(out), keras.layers.Dense(1, name="effort")(both)],
    )
    module = StepModule(keras_step_graph(network))
    assert [item.name for item in module.inputs] == ["x", "phone"]
    assert module.outputs == ("y", "effort")
    assert list(module.states) == ["h_0", "h_1", "c_1"]
    x = [
        np.random.default_rng(s).normal(size=(9, n)).astype(np.float32)
        for s, n in enumerate((4, 3))
    ]
    given = stepped(module, {"x": x[0], "phone": x[1]})
    for name, whole in zip(module.outputs, network([v[np.newaxis] for v in x]), strict=True):
        np.testing.assert_allclose(given[name], whole[0], atol=1e-5)
    assert set(read_graph(to_float_graph(module)).signature("step").inputs) == {
        "x", "phone", "h_0", "h_1", "c_1",
    }  # fmt: skip


def test_normalization_costs_no_operator(vowels):
    network = Architecture("simple-rnn", (8,), 12, 9).build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    names = [
        op.name
        for op in read_graph(to_float_graph(StepModule(keras_step_graph(network)))).operators
    ]
    assert sorted(names) == ["ADD", "FULLY_CONNECTED", "FULLY_CONNECTED", "FULLY_CONNECTED", "TANH"]


@pytest.mark.parametrize("cell", slow_but_some_cells(CELL_NAMES))
def test_input_and_state_have_products_of_their_own(step_models, cell):
    """Joined over [x, h] they would share one quantization, which ruins the state."""
    graph = load_step_model(step_models(cell, "float32")).graph
    signature = graph.signature("step")
    fed = [op.inputs[0] for op in graph.operators if op.name == "FULLY_CONNECTED"]
    assert signature.inputs["x"] in fed
    assert cell.startswith("min-") or signature.inputs["h"] in fed
    assert "CONCATENATION" not in {op.name for op in graph.operators}


def test_a_layer_that_cannot_be_stepped_is_named():
    network = keras.Sequential(
        [
            keras.layers.InputLayer((None, 3)),
            Normalization(),
            keras.layers.Conv1D(4, 3, padding="same", name="smoothing"),
        ]
    )
    with pytest.raises(UnsupportedLayerError, match=r"'smoothing' \(Conv1D\)"):
        StepModule(keras_step_graph(network))
