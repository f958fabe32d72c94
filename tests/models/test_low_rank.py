"""Low-rank factorization: the truncation against NumPy, fine-tuning, and all that comes after."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import long_streams
from convert.export import export, float_step
from convert.schemes import int8
from convert.schemes.spec import SchemeSpec
from convert.schemes.tensor_ranges import tensor_limits
from convert.simulation import SimulatedNetwork
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from models.compress import FactorizeSettings, PruneSettings
from models.compress.low_rank import factorize, truncate, truncated_svd
from models.compress.magnitude import prune_by_magnitude
from models.compress.structured.cut import keep_units
from models.compress.structured.rounds import prune_in_rounds, prune_units
from models.errors import ModelsError
from models.network import Architecture, count_parameters, load_network, recurrences, save_network
from models.prediction import evaluate, predict
from models.training_settings import TrainingSettings
from tests.conftest import VARIANTS_WITH_RECURRENT_MATRIX as VARIANTS
from tests.conftest import slow_but_some
from tests.models.random_networks import frames, random_network, random_task
from tests.models.reference_cells import matrix, weights_by_name

RANK = 3
SETTINGS = TrainingSettings(epochs=4, learning_rate=5e-3)
# As networks of full rank are held to in tests/convert.
DRIFT_BOUND = 0.04
AGREEMENT = 0.99
# Chosen bound: of the 370 test sequences, int8 may cost at most this share.
ACCURACY_LOST = 0.02


def matrix_of(layer):
    return matrix(weights_by_name(layer.cell), "recurrent_kernel")


@pytest.mark.parametrize("shape", [(8, 32), (8, 8)])
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_factors_are_the_nearest_matrix_of_the_rank(shape, rank):
    """Eckart and Young: what is lost is the energy of the other singular values, no more."""
    matrix = np.random.default_rng(0).normal(size=shape)
    down, up, kept = truncated_svd(matrix, rank)
    assert (down.shape, up.shape) == ((shape[0], rank), (rank, shape[1]))
    assert np.linalg.matrix_rank(down @ up) == rank
    values = np.linalg.svd(matrix, compute_uv=False)
    lost = np.linalg.norm(matrix - down @ up) ** 2
    assert lost == pytest.approx((values[rank:] ** 2).sum(), abs=1e-10)
    assert kept == pytest.approx(1 - lost / np.linalg.norm(matrix) ** 2, abs=1e-12)


def test_factors_are_balanced():
    down, up, _ = truncated_svd(np.random.default_rng(0).normal(size=(8, 24)), 5)
    np.testing.assert_allclose(down.T @ down, up @ up.T, atol=1e-12)


def test_matrix_of_zeros_loses_nothing():
    down, up, kept = truncated_svd(np.zeros((4, 8)), 2)
    assert kept == 1
    assert not down.any()
    assert not up.any()


@pytest.mark.parametrize(
    ("cell", "options"),
    [("lstm", {}), ("gru", {"reset_after": False}), ("oru", {"reflections": 3})],
)
def test_at_full_rank_the_network_computes_the_same(cell, options):
    network, architecture = random_network(cell, options, units=(6,))
    factorized, factorized_architecture, energy_kept = truncate(network, architecture, 6)
    np.testing.assert_allclose(
        factorized(frames()).numpy(), network(frames()).numpy(), atol=1e-5, rtol=0
    )
    assert energy_kept == pytest.approx({"recurrence_0": 1})
    assert factorized_architecture == replace(architecture, options={**options, "rank": 6})


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
def test_truncated_network_is_the_network_with_truncated_matrices(cell, options):
    """Every other weight is as it was; the energy is that of NumPy's norms."""
    network, architecture = random_network(cell, options)
    before = [w.copy() for w in network.get_weights()]
    factorized, _, energy_kept = truncate(network, architecture, RANK)
    for actual, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)
    for layer, target in zip(recurrences(network), recurrences(factorized), strict=True):
        matrix, truncated = matrix_of(layer), matrix_of(target)
        kept = (np.linalg.norm(truncated) / np.linalg.norm(matrix)) ** 2
        assert 0 < kept < 1
        assert energy_kept[layer.name] == pytest.approx(kept, abs=1e-6)
        layer.cell.recurrent_kernel.assign(truncated)
    np.testing.assert_allclose(
        factorized(frames()).numpy(), network(frames()).numpy(), atol=1e-5, rtol=0
    )


def test_a_low_rank_network_is_brought_to_a_lower_rank():
    network, architecture = random_network("gru", {"rank": 4})
    factorized, factorized_architecture, energy_kept = truncate(network, architecture, 2)
    assert factorized_architecture.options == {"rank": 2}
    for layer, target in zip(recurrences(network), recurrences(factorized), strict=True):
        down, up, kept = truncated_svd(matrix_of(layer), 2)
        np.testing.assert_allclose(matrix_of(target), down @ up, atol=1e-5)
        assert energy_kept[layer.name] == pytest.approx(kept, abs=1e-6)


@pytest.fixture(scope="module")
def factorized(vowels, trained):
    """(result, what progress was told) of an LSTM of 16 units at RANK."""
    keras.utils.set_random_seed(1)
    told = []
    rank = FactorizeSettings(RANK)
    result = factorize(*trained("lstm"), vowels, rank, SETTINGS, lambda *call: told.append(call))
    return result, told


def test_fine_tuning_mends_the_truncation(factorized, trained, vowels):
    result, told = factorized
    network, architecture = result.network, result.architecture
    only_cut, _, energy_kept = truncate(*trained("lstm"), RANK)
    assert evaluate(network, vowels.test)[0] < evaluate(only_cut, vowels.test)[0] - 0.1
    assert result.facts["energy_kept"] == energy_kept
    assert len(result.history) == len(told) == SETTINGS.epochs
    assert architecture.options == {"rank": RANK}
    assert np.linalg.matrix_rank(matrix_of(recurrences(network)[0]), tol=1e-5) == RANK


def test_parameters_are_saved(factorized, trained):
    """16 * 64 recurrent ones become 16 * 3 + 3 * 64."""
    saved = count_parameters(trained("lstm")[0]) - count_parameters(factorized[0].network)
    assert saved == 16 * 64 - RANK * (16 + 64)


def test_low_rank_network_is_saved_and_loaded(factorized, vowels, tmp_path):
    network, architecture = factorized[0].network, factorized[0].architecture
    save_network(tmp_path, network, architecture)
    loaded, loaded_architecture = load_network(tmp_path)
    assert loaded_architecture == architecture
    np.testing.assert_array_equal(
        predict(loaded, vowels.validation), predict(network, vowels.validation)
    )


@pytest.mark.parametrize(
    ("cell", "units", "rank", "limit"),
    [("simple-rnn", (8,), 4, 4), ("lstm", (8, 6), 5, 5), ("gru", (8,), 7, 6), ("lstm", (5,), 4, 4)],
)
def test_rank_that_saves_nothing_is_refused(cell, units, rank, limit):
    """G H / (1 + G) and more: 4/5 of an LSTM's units, 6.4 and 4.8 for units of 8 and 6."""
    network, architecture = random_network(cell, units=units)
    with pytest.raises(ModelsError) as caught:
        factorize(network, architecture, random_task(), FactorizeSettings(rank), SETTINGS)
    assert f"below {limit}" in caught.value.message
    assert "\n" not in caught.value.message
    smaller, _, _ = truncate(network, architecture, limit - 1)
    assert count_parameters(smaller) < count_parameters(network)
    larger, _, _ = truncate(network, architecture, limit)
    layers = zip(recurrences(larger), recurrences(network), strict=True)
    assert any(count_parameters(a) >= count_parameters(b) for a, b in layers)


def test_rank_must_fall():
    network, architecture = random_network("gru", {"rank": 3})
    with pytest.raises(ModelsError, match="below 3"):
        factorize(network, architecture, random_task(), FactorizeSettings(3), SETTINGS)


@pytest.mark.parametrize("rank", [0, -1])
def test_rank_below_one_is_refused(rank):
    network, architecture = random_network("gru")
    with pytest.raises(ModelsError, match=f"not {rank}"):
        factorize(network, architecture, random_task(), FactorizeSettings(rank), SETTINGS)


def test_wrong_networks_are_refused():
    network, architecture = random_network("gru")
    with pytest.raises(ModelsError, match="belong together"):
        truncate(network, replace(architecture, units=(8,)), RANK)
    with pytest.raises(ModelsError, match="belong together"):
        truncate(network, replace(architecture, units=(8, 5)), RANK)
    kernel = recurrences(network)[1].cell.recurrent_kernel
    kernel.assign(kernel * np.nan)
    with pytest.raises(ModelsError, match="recurrence_1 has NaN"):
        truncate(network, architecture, RANK)


@pytest.fixture(scope="module")
def lowered(vowels):
    """(network, float step) of a random low-rank network on the task's inputs, by cell."""
    made = {}

    def get(cell, **options):
        key = (cell, *options.items())
        if key not in made:
            network, _ = random_network(
                cell, {**options, "rank": RANK}, units=(8,), inputs=12, outputs=9
            )
            # Halved, so that they do not amplify differences of rounding from step to step.
            network.set_weights([0.5 * weight for weight in network.get_weights()])
            network.get_layer("normalization").adapt(*vowels.normalization)
            made[key] = network, float_step(network)
        return made[key]

    return get


@pytest.mark.parametrize(("cell", "options"), slow_but_some(VARIANTS))
def test_stepped_equals_the_network(lowered, vowels, cell, options):
    from ai_edge_litert.interpreter import Interpreter

    network, step = lowered(cell, **options)
    runner = Interpreter(model_content=step.flatbuffer).get_signature_runner("step")
    names = [name for name in runner.get_input_details() if name != "x"]
    data = vowels.test.select(np.arange(5))
    for sequence, expected in zip(data.sequences, predict(network, data), strict=True):
        states = {name: np.zeros((1, 8), np.float32) for name in names}
        outputs = []
        for frame in sequence:
            results = runner(x=frame[np.newaxis], **states)
            states = {name: results[name] for name in names}
            outputs.append(results["y"][0])
        np.testing.assert_allclose(outputs, expected[: len(sequence)], atol=1e-4)


@pytest.mark.parametrize(("cell", "options"), [("lstm", {}), ("gru", {"reset_after": False})])
def test_step_has_two_thin_products_in_place_of_one(lowered, vowels, cell, options):
    """Nothing else is added, and the first has no bias, which the second would have to carry."""
    whole = Architecture(cell, (8,), 12, 9, options).build()
    names = [op.name for op in read_graph(float_step(whole).flatbuffer).operators]
    low = read_graph(lowered(cell, **options)[1].flatbuffer)
    # The candidate of a GRU with the reset before the product has a product of its own.
    pairs = 2 if options.get("reset_after") is False else 1
    expected = sorted([*names, *["FULLY_CONNECTED"] * pairs])
    assert sorted(op.name for op in low.operators) == expected
    down = [
        op
        for op in low.operators
        if op.name == "FULLY_CONNECTED" and low.tensors[op.outputs[0]].shape == (1, RANK)
    ]
    assert len(down) == pairs
    for op in down:
        assert low.tensors[op.inputs[1]].shape == (RANK, 8)
        assert len(op.inputs) < 3 or op.inputs[2] < 0


@pytest.mark.parametrize(("cell", "options"), slow_but_some(VARIANTS))
def test_simulation_without_rounding_is_the_network(lowered, vowels, cell, options):
    network, step = lowered(cell, **options)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 500, 1))
    limits = tensor_limits(read_graph(step.flatbuffer), ranges, step.state_bounds, "min-max", 8)
    plain = SimulatedNetwork(step, limits, simulate=False)
    data = vowels.test.select(np.arange(10))
    np.testing.assert_allclose(predict(plain, data), predict(network, data), atol=1e-4)


@pytest.fixture(scope="module")
def in_int8(factorized, vowels, tmp_path_factory):
    """(path, float step, ranges) of the factorized LSTM's int8 step model."""
    network, architecture = factorized[0].network, factorized[0].architecture
    step = float_step(network)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 4000, 1))
    path = tmp_path_factory.mktemp("low-rank") / "lstm-int8.tflite"
    export(network, architecture, vowels, "int8", path, step, ranges)
    return path, step, ranges


def test_int8_model_keeps_its_contract(in_int8, factorized):
    model = load_step_model(in_int8[0])
    assert {tensor.dtype for tensor in model.graph.tensors} <= {"int8", "int32"}
    states = {state.name: state for state in model.contract.states}
    assert set(states) == {"h", "c"}
    assert states["h"].scale == 1 / 128
    assert {(state.dtype, state.zero_point) for state in states.values()} == {("int8", 0)}
    assert model.contract.parameters == count_parameters(factorized[0].network)
    metrics = model.contract.metrics
    assert metrics["drift"]["rms"] < DRIFT_BOUND
    assert metrics["drift"]["rms_last_tenth"] < DRIFT_BOUND
    assert metrics["accuracy"] > metrics["float_accuracy"] - ACCURACY_LOST


def test_simulated_and_converted_model_decide_alike(in_int8, vowels):
    """What passes between the two factors is rounded in both."""
    path, step, ranges = in_int8
    graph = read_graph(step.flatbuffer)
    limits = tensor_limits(
        graph, ranges, step.state_bounds, SchemeSpec("int8").range_method, int8.BITS
    )
    expected = predict(SimulatedNetwork(step, limits), vowels.test)
    stream = Stream(path, "litert")
    same = []
    for sequence, outputs in zip(vowels.test.sequences, expected, strict=True):
        stream.reset()
        same.append(stream.run(sequence).argmax(-1) == outputs[: len(sequence)].argmax(-1))
    assert np.concatenate(same).mean() >= AGREEMENT


def test_both_factors_are_pruned_by_magnitude():
    network, architecture = random_network("gru", {"rank": 4}, units=(8,))
    settings, half = replace(SETTINGS, batch_size=4), PruneSettings(sparsity=0.5)
    pruned = prune_by_magnitude(network, architecture, random_task(), half, settings)
    (layer,) = recurrences(pruned.network)
    names = ("kernel", "recurrent_kernel_down", "recurrent_kernel_up")
    assert set(pruned.facts["sparsity_reached"]) == {f"recurrence_0/{name}" for name in names}
    weights = weights_by_name(layer.cell)
    shares = [np.mean(weights[name] == 0) for name in names]
    assert shares == pytest.approx([0.5] * 3, abs=0.03)


def test_rank_is_kept_when_units_are_pruned():
    """That the cut is exact is tested with all cells, in test_structured_cut."""
    network, architecture = random_network("lstm", {"rank": RANK})
    smaller, smaller_architecture = prune_units(network, architecture, random_task(), 0.5)
    assert smaller_architecture.options == {"rank": RANK}
    assert [layer.cell.rank for layer in recurrences(smaller)] == [RANK, RANK]


def test_fewer_units_than_rank_are_refused():
    """Before anything is trained, and with what to do."""
    network, architecture = random_network("gru", {"rank": 4})
    with pytest.raises(ModelsError, match=r"rank 4.*not 3; prune units first"):
        prune_units(network, architecture, random_task(), 0.5)
    with pytest.raises(ModelsError, match="rank 4"):
        prune_in_rounds(
            network, architecture, random_task(), PruneSettings(keep=0.5, rounds=2), SETTINGS
        )
    with pytest.raises(ModelsError, match=r"from 1 to units \(2\)"):
        keep_units(network, architecture, [np.arange(4), np.arange(2)])
