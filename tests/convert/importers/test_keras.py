"""Keras models are stepped to what their framework computes, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from convert.errors import UnsupportedLayerError
from convert.import_conversion.conversion import prepare
from convert.import_conversion.description import Facts
from convert.import_conversion.original import original_outputs
from convert.importers import import_model
from convert.importers.imported import ImportedModel
from convert.importers.keras2 import imported
from convert.step.keras_graph import keras_step_graph
from convert.step.step_graph import Kind
from convert.step.step_module import StepModule
from convert.targets.check import check_file
from convert.verify import verify_on_runtimes
from tests.convert.importers.architectures import ARCHITECTURES, KERAS_3, PYTORCH, TENSORFLOW, saved
from tests.convert.importers.import_table import real_sequences, refusal

# Those whose rules have most in them; the others are slow tests.
QUICK = {
    (TENSORFLOW, "LSTM of hard_sigmoid"),
    (TENSORFLOW, "GRU, reset before"),
    (TENSORFLOW, "stateful=True"),
    (TENSORFLOW, "causal TCN and GRU"),
    (TENSORFLOW, "two inputs, two outputs"),
    (TENSORFLOW, "GlobalAveragePooling1D"),
    (TENSORFLOW, "causal pooling"),
    (TENSORFLOW, "LSTM + input (operator +)"),
    (TENSORFLOW, "GRU in a SavedModel"),
    (KERAS_3, "LSTM of hard_sigmoid"),
    (KERAS_3, "RNN of stacked cells"),
    (KERAS_3, "character model, masked"),
    (KERAS_3, "two GRUs"),
}
STEPPED = [
    item if (item.framework, item.name) in QUICK else pytest.param(item, marks=pytest.mark.slow)
    for item in ARCHITECTURES
    if item.framework != PYTORCH and not item.refused
]
QUICK_ONES = [item for item in ARCHITECTURES if (item.framework, item.name) in QUICK]
REFUSED = [item for item in ARCHITECTURES if item.refused]


def name_of(architecture):
    return f"{architecture.framework}-{architecture.name}"


def stepped(module: StepModule, sequence: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every output of every step, by name."""
    states = {
        name: module.initial.get(name, np.zeros((1, *state.shape), np.float32))
        for name, state in module.states.items()
    }
    given = {name: [] for name in module.outputs}
    for frame in zip(*(sequence[item.name] for item in module.inputs), strict=True):
        results = module.step(*(value[np.newaxis] for value in frame), *states.values())
        states = {name: results[name] for name in states}
        for name in module.outputs:
            given[name].append(results[name].numpy()[0])
    return {name: np.array(values) for name, values in given.items()}


@pytest.mark.parametrize("architecture", STEPPED, ids=name_of)
def test_a_stepped_model_is_the_sequence_model(architecture, tmp_path):
    imported = import_model(*saved(architecture, tmp_path))
    module = StepModule(imported.graph)
    sequence = {name: values[:12] for name, values in real_sequences(module)[0].items()}
    wanted = original_outputs(imported, module, sequence)
    for name, values in stepped(module, sequence).items():
        assert np.ptp(wanted[name]) > 1e-3
        np.testing.assert_allclose(values, wanted[name], atol=1e-4 * np.ptp(wanted[name]))


@pytest.mark.parametrize("architecture", REFUSED, ids=name_of)
def test_what_cannot_be_stepped_is_refused_by_name(architecture, tmp_path):
    message = refusal(architecture, tmp_path)
    assert architecture.refused in message
    assert message.startswith("layer '")
    assert "\n" not in message


def test_an_original_with_fixed_steps_gets_free_ones(tmp_path):
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.layers.InputLayer((20, 3)),
            keras.layers.GRU(4, return_sequences=True),
            keras.layers.Dense(2),
        ]
    )
    model.save(tmp_path / "m.keras")
    imported = import_model(tmp_path / "m.keras")
    x = np.random.default_rng(3).normal(size=(1, 20, 3)).astype(np.float32)
    (given,) = imported.reference([x])
    np.testing.assert_allclose(given, model(x).numpy(), atol=1e-6)
    assert imported.reference([x[:, :7]])[0].shape == (1, 7, 2)


def test_time_in_front_of_the_batch_is_refused_in_a_window_too(tmp_path):
    lstm = keras.layers.LSTM(4, time_major=True, return_sequences=True)
    keras.Sequential([keras.layers.InputLayer((12, 3)), lstm]).save(tmp_path / "m.h5")
    with pytest.raises(UnsupportedLayerError, match="time axis first"):
        import_model(tmp_path / "m.h5", whole=True)


def test_padding_has_a_stated_meaning(tmp_path):
    (architecture,) = (a for a in QUICK_ONES if a.name == "character model, masked")
    imported = import_model(*saved(architecture, tmp_path))
    assert imported.padding == (("x", 0),)
    assert any("id 0 is padding" in text for text in StepModule(imported.graph).changed)


def test_a_step_may_not_meet_the_summary_of_its_sequence():
    x = keras.Input((None, 3))
    h = keras.layers.GRU(4, return_sequences=True)(x)
    mean = keras.layers.GlobalAveragePooling1D()(h)
    network = keras.Model(x, keras.layers.Add()([h, mean]))
    with pytest.raises(UnsupportedLayerError, match="joins a step with the summary"):
        StepModule(keras_step_graph(network))


def test_kinds_of_outputs():
    x = keras.Input((None, 3))
    h, state = keras.layers.GRU(4, return_sequences=True, return_state=True)(x)
    module = StepModule(
        keras_step_graph(keras.Model(x, [h, state, keras.layers.GlobalMaxPooling1D()(h)]))
    )
    assert list(module.output_kinds.values()) == [Kind.STEP, Kind.SUMMARY, Kind.SUMMARY]


@pytest.mark.parametrize(
    ("activation", "bound"), [("tanh", 1.0), ("hard_sigmoid", 1.0), ("relu", None)]
)
def test_only_states_that_the_equations_bound_have_a_bound(activation, bound):
    network = keras.Sequential(
        [
            keras.layers.InputLayer((None, 3)),
            keras.layers.GRU(4, activation=activation, return_sequences=True),
        ]
    )
    assert StepModule(keras_step_graph(network)).states["h"].bound == bound


def test_a_state_begins_where_its_maximum_can():
    network = keras.Sequential(
        [
            keras.layers.InputLayer((None, 3)),
            keras.layers.GRU(4, return_sequences=True),
            keras.layers.GlobalMaxPooling1D(),
        ]
    )
    module = StepModule(keras_step_graph(network))
    np.testing.assert_array_equal(module.initial["max_1"], np.full((1, 4), -1, np.float32))
    assert not module.float_states


def test_the_reference_is_not_the_network_that_is_stepped_in_keras_3(tmp_path):
    (architecture,) = (a for a in QUICK_ONES if a.name == "two GRUs")
    imported = import_model(*saved(architecture, tmp_path))
    assert isinstance(imported, ImportedModel)
    assert imported.framework.startswith("Keras 3")
    x = np.random.default_rng(1).normal(size=(1, 5, 12)).astype(np.float32)
    before = imported.reference([x])[0]
    for weight in imported.graph.owner.weights:
        weight.assign(weight * 0)
    np.testing.assert_array_equal(imported.reference([x])[0], before)


def rectified() -> keras.Model:
    """Every rectifier whose operator of TFLite is not in the integers of every target."""
    keras.utils.set_random_seed(3)
    x = keras.Input((None, 12))
    h = keras.layers.Dense(8)(keras.layers.GRU(8, return_sequences=True)(x))
    slopes = np.linspace(-0.5, 1.5, 8).astype(np.float32).reshape(1, 8)
    given = [
        keras.layers.LeakyReLU(0.1)(h),
        keras.layers.PReLU(shared_axes=[1], weights=[slopes])(h),
        keras.layers.ReLU(0.3)(h),
        keras.layers.ReLU(negative_slope=0.2)(h),
        keras.layers.Minimum()([h, keras.layers.Dense(8)(h)]),
    ]
    return keras.Model(x, keras.layers.Dense(5)(keras.layers.Concatenate()(given)))


def test_rectifiers_are_right_in_float_and_in_int8(vowels, tmp_path):
    sequences = [{"x": sequence} for sequence in vowels.train.sequences[:60]]
    # Compares with Keras.
    conversion = prepare(imported(rectified(), "tf_keras"), Facts(), sequences)
    model = conversion.export("int8", tmp_path / "int8.tflite")
    assert model.contract.metrics["drift"]["rms"] < 0.02
    verified = verify_on_runtimes([model.path], ["litert", "tflite-runtime"])
    assert [one["failure"] for one in verified if one["failure"]] == []
    assert check_file(model.path, "edgetpu").fits


def test_an_activation_that_integers_lack_is_named(vowels, tmp_path):
    network = keras.Sequential(
        [
            keras.layers.InputLayer((None, 12)),
            keras.layers.SimpleRNN(4, activation="softsign", return_sequences=True, name="soft"),
        ]
    )
    sequences = [{"x": sequence} for sequence in vowels.train.sequences[:5]]
    conversion = prepare(imported(network, "tf_keras"), Facts(), sequences)
    model = conversion.export("int8", tmp_path / "int8.tflite")
    assert model.contract.metrics["mixed"] == {"soft": "there is no NEG, DIV in 8-bit integers"}
    assert [state.dtype for state in model.contract.states] == ["int8"]
