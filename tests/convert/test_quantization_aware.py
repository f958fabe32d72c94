"""Quantization-aware training: the simulation is the int8 graph, and training improves it."""

from dataclasses import fields, replace

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from convert.errors import ContractViolationError, UnsupportedLayerError
from convert.export import export, float_step
from convert.operators.in_tensorflow import SIMULATED
from convert.quantization_aware import (
    float_network,
    load_step,
    save_step,
    train_quantization_aware,
)
from convert.schemes import parse_scheme
from convert.schemes.scheme import FloatStep, LayerName
from convert.schemes.tensor_ranges import tensor_limits
from convert.simulation import SimulatedNetwork
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from models.network import recurrences
from models.prediction import predict
from models.training_settings import TrainingSettings
from tests.conftest import VARIANTS
from tests.hand_made_steps import MADE, VOCABULARY, step_model

# Share of steps at which simulation and converted model must decide alike.
AGREEMENT = 0.99
# The cells that are trained in the default run; the others are in the slow one.
QUICK = ("lstm",)
MARKED = [
    pytest.param(cell, options, marks=() if cell in QUICK and not options else pytest.mark.slow)
    for cell, options in VARIANTS
]


@pytest.fixture(scope="module")
def fine_tuned(vowels, trained, calibrated):
    """(network, architecture, step, simulated) by cell, trained for two epochs, made on demand."""
    made = {}

    def get(cell, **options):
        key = (cell, *options.items())
        if key not in made:
            network, architecture = trained(cell, **options)
            step, ranges = calibrated(cell, **options)
            keras.utils.set_random_seed(2)
            settings = TrainingSettings(epochs=2, learning_rate=5e-4)
            tuned, simulated, _ = train_quantization_aware(
                network, architecture, step, ranges, vowels, settings
            )
            made[key] = network, architecture, tuned, simulated
        return made[key]

    return get


@pytest.mark.parametrize(("cell", "options"), MARKED)
def test_simulated_and_converted_model_decide_alike(fine_tuned, vowels, tmp_path, cell, options):
    _, architecture, step, simulated = fine_tuned(cell, **options)
    path = tmp_path / "qat.tflite"
    export(float_network(step), architecture, vowels, "int8:qat", path, step)
    stream = Stream(path, "litert")
    expected = predict(simulated, vowels.test)
    same = []
    for sequence, outputs in zip(vowels.test.sequences, expected, strict=True):
        stream.reset()
        same.append(stream.run(sequence).argmax(-1) == outputs[: len(sequence)].argmax(-1))
    assert np.concatenate(same).mean() >= AGREEMENT


@pytest.mark.parametrize(("cell", "options"), MARKED)
def test_without_rounding_it_is_the_float_network(trained, calibrated, vowels, cell, options):
    network, _ = trained(cell, **options)
    step, ranges = calibrated(cell, **options)
    limits = tensor_limits(read_graph(step.flatbuffer), ranges, step.state_bounds, "min-max", 8)
    plain = SimulatedNetwork(step, limits, simulate=False)
    data = vowels.test.select(np.arange(10))
    np.testing.assert_allclose(predict(plain, data), predict(network, data), atol=1e-4)


def test_state_grids_are_those_of_the_contract(fine_tuned, vowels, tmp_path):
    _, architecture, step, _ = fine_tuned("lstm")
    path = tmp_path / "qat.tflite"
    export(float_network(step), architecture, vowels, "int8:qat", path, step)
    states = {state.name: state for state in load_step_model(path).contract.states}
    assert (states["h"].scale, states["h"].zero_point) == (1 / 128, 0)
    assert states["c"].zero_point == 0


def test_weights_and_ranges_are_learned(fine_tuned):
    network, _, step, _ = fine_tuned("gru")
    before = float_step(network)
    assert step.flatbuffer != before.flatbuffer
    tensors = read_graph(before.flatbuffer)
    names = {tensor.name for tensor in tensors.tensors}
    assert set(step.limits) <= names


def test_an_orthogonal_matrix_is_not_trained(fine_tuned):
    network, _, step, _ = fine_tuned("oru")
    q = recurrences(network)[0].cell.orthogonal_matrix().numpy()
    tuned = float_network(step)
    kept = [w.numpy() for w in tuned.weights if w.shape == q.shape and np.allclose(w, q, atol=1e-6)]
    assert len(kept) == 1


def test_save_and_load(fine_tuned, tmp_path):
    _, _, step, _ = fine_tuned("gru")
    save_step(tmp_path, step)
    assert load_step(tmp_path) == step


def test_the_scheme_is_refused_without_training(trained, vowels, tmp_path):
    network, architecture = trained("gru")
    with pytest.raises(ContractViolationError, match="trained for it"):
        export(network, architecture, vowels, "int8:qat", tmp_path / "x.tflite")
    with pytest.raises(ContractViolationError, match="not trained"):
        float_network(float_step(network))


def test_an_operator_that_is_not_simulated_is_named(trained, monkeypatch):
    monkeypatch.delitem(SIMULATED, "TANH")
    with pytest.raises(UnsupportedLayerError, match="TANH"):
        SimulatedNetwork(float_step(trained("gru")[0]), {})


@pytest.mark.slow
def test_zeros_of_a_pruned_network_stay(vowels, trained):
    network, architecture = trained("gru")
    pruned = architecture.build()
    pruned.set_weights(network.get_weights())
    (layer,) = recurrences(pruned)
    kernel = layer.cell.recurrent_kernel.numpy()
    kernel[np.abs(kernel) < np.median(np.abs(kernel))] = 0
    layer.cell.recurrent_kernel.assign(kernel)
    step = float_step(pruned)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 500, 1))
    tuned, _, _ = train_quantization_aware(
        pruned, architecture, step, ranges, vowels, TrainingSettings(epochs=1, learning_rate=5e-3)
    )
    again = SimulatedNetwork(tuned, tuned.limits, simulate=False)
    matrix = next(w for w in again.get_weights() if w.shape == kernel.T.shape)
    assert np.all(matrix[kernel.T == 0] == 0)
    assert not np.array_equal(matrix, kernel.T)


def test_scale_of_an_unbounded_state_is_learned_and_shared(fine_tuned):
    _, _, step, _ = fine_tuned("lstm")
    graph = read_graph(step.flatbuffer)
    signature = graph.signature("step")
    names = {
        end: graph.tensors[ends["c"]].name
        for end, ends in (("in", signature.inputs), ("out", signature.outputs))
    }
    assert step.limits[names["in"]] == step.limits[names["out"]]
    ranges = step.calibrate([np.zeros((10, 12), np.float32)])
    untrained = tensor_limits(graph, ranges, step.state_bounds, "min-max", 8)
    assert step.limits[names["in"]] != untrained[names["in"]]
    h = graph.tensors[signature.inputs["h"]].name
    assert step.limits[h] == untrained[h]


@pytest.mark.slow
def test_scales_per_channel_are_simulated(vowels, trained, calibrated, tmp_path):
    network, architecture = trained("gru")
    step, ranges = calibrated("gru")
    tuned, simulated, _ = train_quantization_aware(
        network,
        architecture,
        step,
        ranges,
        vowels,
        TrainingSettings(epochs=1, learning_rate=5e-3),
        spec=parse_scheme("int8:qat:per-channel"),
    )
    path = tmp_path / "qat.tflite"
    export(float_network(tuned), architecture, vowels, "int8:qat:per-channel", path, tuned)
    stream = Stream(path, "litert")
    sequence = vowels.test.sequences[0]
    expected = simulated(sequence[np.newaxis]).numpy()[0]
    spread = expected.max() - expected.min()
    assert np.abs(stream.run(sequence) - expected).max() < 0.1 * spread


@pytest.mark.slow
def test_training_starts_from_the_range_that_the_scheme_names(vowels, trained, calibrated):
    """With a learning rate of nothing, what it starts from is what it ends with."""
    network, architecture = trained("gru")
    step, ranges = calibrated("gru")
    ends = {}
    for name in ("int8:qat", "int8:qat:percentile"):
        spec = parse_scheme(name)
        settings = TrainingSettings(epochs=1, learning_rate=1e-12)
        tuned, _, _ = train_quantization_aware(
            network, architecture, step, ranges, vowels, settings, spec=spec
        )
        graph = read_graph(step.flatbuffer)
        start = tensor_limits(graph, ranges, step.state_bounds, spec.range_method, 8)
        ends[name] = tuned.limits
        for tensor, limits in tuned.limits.items():
            if tensor in start:
                np.testing.assert_allclose(limits, start[tensor], rtol=0.02, atol=1e-3)
    assert ends["int8:qat"] != ends["int8:qat:percentile"]


def simulated_hand_made(name, simulate):
    """A hand-made step's simulation, and its step graph with the limits to quantize it with."""
    step = MADE[name].float_step()
    ranges = step.calibrate([MADE[name].frames(300, 4)])
    limits = tensor_limits(read_graph(step.flatbuffer), ranges, step.state_bounds, "min-max", 8)
    simulated = SimulatedNetwork(step, limits, bounded=step.state_bounds, simulate=simulate)
    return simulated, replace(step, limits=simulated.limits())


@pytest.mark.parametrize("name", ["tokens", "matrix", "image"])
def test_tokens_and_states_of_other_shapes_are_simulated(name):
    simulated, _ = simulated_hand_made(name, simulate=False)
    frames = MADE[name].frames()
    found = simulated(np.stack([frames["x"]] * 2)).numpy()
    expected = MADE[name].outputs(frames)["y"]
    np.testing.assert_allclose(found, [expected] * 2, atol=1e-5)


def test_a_simulated_embedding_is_rounded_as_the_converted_one(tmp_path):
    simulated, step = simulated_hand_made("tokens", simulate=True)
    model = step_model("tokens", tmp_path, "int8", step=step)
    frames = MADE["tokens"].frames(200)["x"]
    found = simulated(frames[np.newaxis]).numpy()[0]
    expected = Stream(model, "litert").run(frames)
    exact = MADE["tokens"].outputs({"x": frames})["y"]
    # Nearer to the converted model than rounding is to the float one.
    assert np.abs(found - expected).mean() < 0.5 * np.abs(found - exact).mean()
    names = {variable.name for variable in simulated.trainable_variables}
    shapes = {tuple(variable.shape) for variable in simulated.trainable_variables}
    assert (VOCABULARY, 6) in shapes, names


def test_several_inputs_are_not_simulated():
    with pytest.raises(UnsupportedLayerError, match="several inputs or outputs"):
        simulated_hand_made("two", simulate=True)


def test_all_of_a_step_is_saved(tmp_path):
    """Every field of it, so that a new one is not forgotten."""
    _, step = simulated_hand_made("tokens", simulate=True)
    whole = replace(
        step,
        periods={"h": 2},
        initial={},
        layers=(LayerName("a", "sums up"),),
        float_states=frozenset({"h"}),
        kept_float=frozenset({0}),
        inputs=("frame",),
        outputs=("level",),
        first_phase=1,
    )
    defaults = FloatStep(b"", {})
    # Recipes have no windows, and initial values do not compare.
    for field in fields(FloatStep):
        if field.name not in ("initial", "window", "one_row"):
            assert getattr(whole, field.name) != getattr(defaults, field.name), field.name
    save_step(tmp_path, whole)
    assert load_step(tmp_path) == whole


def test_initial_states_and_vocabularies_are_saved(tmp_path):
    _, step = simulated_hand_made("tokens", simulate=True)
    save_step(tmp_path, step)
    loaded = load_step(tmp_path)
    assert loaded.vocabularies == step.vocabularies == {"x": VOCABULARY}
    assert loaded.limits == step.limits
    np.testing.assert_array_equal(loaded.initial["h"], step.initial["h"])
