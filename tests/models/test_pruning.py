"""Magnitude pruning of small trained networks."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from models.compress import PruneSettings, rehearse
from models.compress.magnitude import pattern_holds, prune_by_magnitude
from models.errors import ModelsError, UnknownNameError
from models.layers import Recurrence
from models.metrics import accuracy
from models.network import Architecture, load_network, recurrences, save_network
from models.prediction import predict
from models.training_settings import TrainingSettings

SPARSITY = 0.6
PRUNING = PruneSettings(sparsity=SPARSITY)
ONE_POINT = 0.01
# Chosen bound: of the 370 test sequences, pruning may cost at most this share.
ACCURACY_LOST = 0.10
SETTINGS = TrainingSettings(epochs=8, learning_rate=5e-3)


def share_of_zeros(weight):
    return float(np.mean(weight.numpy() == 0))


@pytest.fixture(scope="module")
def pruned(vowels, trained):
    """(original, its weights before, pruned network, the whole result, architecture) by cell."""
    made = {}

    def get(cell):
        if cell not in made:
            network, architecture = trained(cell)
            before = network.get_weights()
            keras.utils.set_random_seed(1)
            result = prune_by_magnitude(network, architecture, vowels, PRUNING, SETTINGS)
            made[cell] = network, before, result.network, result, architecture
        return made[cell]

    return get


@pytest.mark.parametrize("cell", ["gru", "oru-state"])
def test_every_matrix_reaches_the_sparsity(pruned, cell):
    _, _, network, result, _ = pruned(cell)
    (layer,) = recurrences(network)
    matrices = [layer.cell.kernel, layer.cell.recurrent_kernel]
    if cell == "oru-state":
        matrices.append(layer.cell.reflector_kernel)
    assert [share_of_zeros(m) for m in matrices] == pytest.approx(
        [SPARSITY] * len(matrices), abs=ONE_POINT
    )
    assert sorted(result.facts["sparsity_reached"].values()) == pytest.approx(
        sorted(share_of_zeros(m) for m in matrices), abs=1e-4
    )


def test_biases_and_head_stay_dense(pruned):
    network = pruned("gru")[2]
    (layer,) = recurrences(network)
    for weight in (layer.cell.bias, layer.cell.recurrent_bias, *network.get_layer("head").weights):
        assert share_of_zeros(weight) == 0


def test_no_wrapper_is_left(pruned):
    original, _, network, _, _ = pruned("gru")
    assert not any(isinstance(module, keras.layers.Wrapper) for module in network.submodules)
    assert [type(layer) for layer in network.layers] == [type(layer) for layer in original.layers]
    assert [w.shape for w in network.weights] == [w.shape for w in original.weights]


def test_original_is_left_as_it_is(pruned):
    original, before, network, _, _ = pruned("gru")
    for actual, expected in zip(original.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)
    shared = {id(v) for v in original.weights} & {id(v) for v in network.weights}
    assert not shared
    assert isinstance(recurrences(original)[0], Recurrence)


@pytest.mark.parametrize("cell", ["gru", "oru-state"])
def test_accuracy_is_not_destroyed(pruned, vowels, cell):
    original, _, network, _, _ = pruned(cell)
    before = accuracy(predict(original, vowels.test), vowels.test)
    after = accuracy(predict(network, vowels.test), vowels.test)
    assert after > before - ACCURACY_LOST


def test_fine_tuning_makes_up_for_the_zeros(pruned, vowels):
    """Better than the same share of zeros without it."""
    _, before, network, _, architecture = pruned("gru")
    only_cut = architecture.build()
    only_cut.set_weights(before)
    (layer,) = recurrences(only_cut)
    for matrix in (layer.cell.kernel, layer.cell.recurrent_kernel):
        values = matrix.numpy()
        values[np.abs(values) < np.quantile(np.abs(values), SPARSITY)] = 0
        matrix.assign(values)
    tuned = accuracy(predict(network, vowels.test), vowels.test)
    assert tuned > accuracy(predict(only_cut, vowels.test), vowels.test)


@pytest.mark.parametrize("cell", ["gru", "oru-state"])
def test_pruned_network_is_saved_and_loaded(pruned, vowels, tmp_path, cell):
    _, _, network, _, architecture = pruned(cell)
    save_network(tmp_path, network, architecture)
    loaded, _ = load_network(tmp_path)
    np.testing.assert_allclose(
        predict(loaded, vowels.validation), predict(network, vowels.validation), atol=1e-6
    )
    (layer,) = recurrences(loaded)
    assert share_of_zeros(layer.cell.recurrent_kernel) == pytest.approx(SPARSITY, abs=ONE_POINT)


def test_there_is_no_early_stopping(pruned):
    assert len(pruned("gru")[3].history) == SETTINGS.epochs


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_sparsity_is_reached_in_few_epochs(vowels, epochs):
    """However long the fine-tuning: 216 sequences make 7 steps an epoch here."""
    keras.utils.set_random_seed(1)
    architecture = Architecture("gru", (16,), len(vowels.channels), len(vowels.labels))
    settings = replace(SETTINGS, epochs=epochs)
    pruned = prune_by_magnitude(architecture.build(), architecture, vowels, PRUNING, settings)
    (layer,) = recurrences(pruned.network)
    reached = [share_of_zeros(w) for w in layer.get_prunable_weights()]
    assert reached == pytest.approx([SPARSITY] * 2, abs=ONE_POINT)


def test_all_recurrences_are_pruned(vowels):
    """With options, two recurrences, and wrong validation labels: the best epoch is an early one
    that is not sparse yet, and must not be the one kept."""
    wrong = replace(vowels.validation, labels=(vowels.validation.labels + 1) % len(vowels.labels))
    small = replace(vowels, train=vowels.train.select(np.arange(64)), validation=wrong)
    architecture = Architecture(
        "gru", (8, 6), len(vowels.channels), len(vowels.labels), {"reset_after": False}, dropout=0.1
    )
    keras.utils.set_random_seed(1)
    result = prune_by_magnitude(
        architecture.build(),
        architecture,
        small,
        PruneSettings(sparsity=0.5),
        replace(SETTINGS, epochs=10, learning_rate=0.05),
    )
    pruned = result.network
    assert result.history.best_epoch < 4, "the case is not the one meant: choose other settings"
    reached = [share_of_zeros(w) for r in recurrences(pruned) for w in r.get_prunable_weights()]
    assert reached == pytest.approx([0.5] * 4, abs=ONE_POINT)
    assert len(result.facts["sparsity_reached"]) == 4


@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("16x1", 0.75), ("1x16", 0.75)])
def test_the_zeros_lie_in_the_pattern(vowels, trained, pattern, sparsity):
    keras.utils.set_random_seed(1)
    architecture = Architecture("gru", (32,), 12, 9)
    result = prune_by_magnitude(
        architecture.build(),
        architecture,
        vowels,
        PruneSettings(sparsity=sparsity, pattern=pattern),
        replace(SETTINGS, epochs=4),
    )
    (layer,) = recurrences(result.network)
    recurrent = layer.cell.recurrent_kernel.numpy()
    assert pattern_holds(recurrent, pattern)
    assert np.mean(recurrent == 0) == pytest.approx(sparsity, abs=ONE_POINT)
    kernel = layer.cell.kernel.numpy()
    divides = kernel.shape[0] % 4 == 0 and pattern == "2:4"
    assert np.mean(kernel == 0) == pytest.approx(sparsity if divides else 0.0, abs=ONE_POINT)
    reached = result.facts["sparsity_reached"]["recurrence_0/kernel"]
    assert reached == pytest.approx(np.mean(kernel == 0))


def test_what_is_no_pattern_is_told_apart():
    matrix = np.ones((32, 2))
    matrix[:16, 0] = 0
    assert pattern_holds(matrix, "16x1")
    assert not pattern_holds(matrix, "2:4")
    assert pattern_holds(np.repeat([[1.0, 0.0], [0.0, 1.0]], 16, axis=1), "1x16")
    assert not pattern_holds(np.tile(matrix, (1, 16)), "1x16")
    matrix[20, 1] = 0
    assert not pattern_holds(matrix, "16x1")
    halves = np.tile([[1.0], [0.0]], (16, 2))
    assert pattern_holds(halves, "2:4")
    assert not pattern_holds(halves, "16x1")


@pytest.mark.parametrize(
    ("pattern", "sparsity", "error", "message"),
    [
        ("2:4", 0.75, ModelsError, "2:4 has a sparsity of 0.5"),
        ("16x2", 0.5, UnknownNameError, "16x1"),
    ],
)
def test_wrong_patterns_are_refused(pattern, sparsity, error, message):
    with pytest.raises(error, match=message):
        PruneSettings(sparsity=sparsity, pattern=pattern)


def test_a_network_that_does_not_divide_into_blocks_is_refused(vowels):
    architecture = Architecture("gru", (16,), 12, 9)
    network, runs = architecture.build(), PruneSettings(sparsity=0.75, pattern="16x1")
    with pytest.raises(ModelsError, match="no matrix has two or more times 16 inputs"):
        prune_by_magnitude(network, architecture, vowels, runs, SETTINGS)
    with pytest.raises(ModelsError, match="no matrix has two or more times 16 inputs"):
        rehearse("prune", network, architecture, runs)


def test_interrupted_pruning_goes_on_where_it_was(vowels, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("models.training.CHECKPOINT_INTERVAL_S", 0)
    settings = replace(SETTINGS, epochs=4)
    checkpoint = tmp_path / "c.npz"

    def run(progress=None):
        keras.utils.set_random_seed(1)
        return prune_by_magnitude(*trained("gru"), vowels, PRUNING, settings, progress, checkpoint)

    def interrupt(done, epochs, losses):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt)
    epochs = []
    result = run(lambda done, *_: epochs.append(done))
    assert epochs == [3, 4]
    (layer,) = recurrences(result.network)
    assert share_of_zeros(layer.cell.recurrent_kernel) == pytest.approx(SPARSITY, abs=ONE_POINT)
