"""Structured pruning: the cut against holding units at zero, what is cut, and the rounds."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from models.cells import CELLS, CellEntry, cell_class
from models.cells.gru import GRUCell
from models.compress import PruneSettings
from models.compress.structured import importance as importance_module
from models.compress.structured.cut import keep_inputs, keep_units, select_channels
from models.compress.structured.importance import input_importance, unit_importance
from models.compress.structured.rounds import prune_in_rounds, prune_inputs, prune_units
from models.errors import ModelsError, UnknownNameError
from models.network import load_network, recurrences, save_network
from models.prediction import evaluate, predict
from models.training_settings import TrainingSettings
from tests.models.random_networks import INPUTS, UNITS, frames, random_network, random_task
from tests.models.reference_cells import REFERENCES
from tests.models.weight_comparison import assert_same_weights

KEPT = [np.array([0, 2, 3, 7]), np.array([5, 1, 2])]
TOLERANCE = 2e-5
ORTHOGONALITY = 1e-5
SETTINGS = TrainingSettings(epochs=4, learning_rate=5e-3)

# A group cannot lose units by itself.
CUTTABLE = [name for name in CELLS if cell_class(name).weight_axes]
VARIANTS = [
    *((name, options) for name in CUTTABLE for options in REFERENCES[name].options),
    ("oru", {"reflections": 6}),
]


def mask_of(size, kept):
    mask = np.zeros(size, np.float32)
    mask[kept] = 1
    return mask


def hold_at_zero(cell, kept):
    """Make a cell, in place, compute with all but the ``kept`` units held at zero."""
    mask = mask_of(cell.units, kept)
    if hasattr(cell, "_candidate"):  # the units of an ORU are the coordinates of h~
        candidate = cell._candidate
        cell._candidate = lambda product, h: candidate(product, h) * mask
        if hasattr(cell, "reflector_kernel"):
            cell.reflector_kernel.assign(cell.reflector_kernel * mask)
            cell.reflector_bias.assign(cell.reflector_bias * mask)
        return
    step = cell.step

    def held(product, states, constants):
        output, new_states = step(product, states, constants)
        return output * mask, tuple(state * mask for state in new_states)

    cell.step = held
    cell.parallel = lambda product: None


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
def test_cut_network_computes_what_the_larger_does_with_units_held_at_zero(cell, options):
    network, architecture = random_network(cell, options)
    smaller, smaller_architecture = keep_units(network, architecture, KEPT)
    whole = network(frames()).numpy()
    for layer, kept in zip(recurrences(network), KEPT, strict=True):
        hold_at_zero(layer.cell, kept)
    held = network(frames()).numpy()
    assert np.abs(held - whole).max() > 0.1, "the case shows nothing: the units do not matter"
    np.testing.assert_allclose(smaller(frames()).numpy(), held, atol=TOLERANCE, rtol=0)
    assert smaller_architecture.units == (4, 3)
    assert [layer.cell.units for layer in recurrences(smaller)] == [4, 3]


@pytest.mark.parametrize(("cell", "options"), VARIANTS)
def test_cut_inputs_are_held_at_their_mean(cell, options):
    """In any order: the third kept channel comes first."""
    network, architecture = random_network(cell, options)
    kept = np.array([4, 0, 2])
    smaller, smaller_architecture = keep_inputs(network, architecture, kept)
    normalization = network.get_layer("normalization")
    scale, shift = normalization.get_weights()
    x = frames()
    at_mean = np.where(mask_of(INPUTS, kept) > 0, x, -shift / scale).astype(np.float32)
    np.testing.assert_allclose(
        smaller(x[..., kept]).numpy(), network(at_mean).numpy(), atol=TOLERANCE, rtol=0
    )
    assert smaller_architecture.inputs == 3


@pytest.mark.parametrize("options", [{}, {"reflections": 3}, {"reflections": 6}])
def test_oru_stays_orthogonal(options):
    network, architecture = random_network("oru", options)
    smaller, smaller_architecture = keep_units(network, architecture, KEPT)
    for layer in recurrences(smaller):
        q = layer.cell.orthogonal_matrix().numpy().astype(np.float64)
        assert np.linalg.norm(q.T @ q - np.eye(len(q)), 2) < ORTHOGONALITY
    assert smaller_architecture.options == ({"reflections": 3} if options else {})


@pytest.mark.parametrize("cell", CUTTABLE)
def test_cut_network_is_saved_and_loaded(cell, tmp_path):
    network, architecture = random_network(cell)
    smaller, smaller_architecture = keep_units(network, architecture, KEPT)
    save_network(tmp_path, smaller, smaller_architecture)
    loaded, loaded_architecture = load_network(tmp_path)
    assert loaded_architecture == smaller_architecture
    assert loaded_architecture.dropout == architecture.dropout
    np.testing.assert_array_equal(loaded(frames()).numpy(), smaller(frames()).numpy())


@pytest.mark.parametrize("cell", ["gru", "oru"])
def test_original_is_left_as_it_is(cell):
    network, architecture = random_network(cell)
    before = [w.copy() for w in network.get_weights()]
    smaller, _ = keep_units(network, architecture, KEPT)
    smaller.set_weights([np.zeros_like(w) for w in smaller.get_weights()])
    for actual, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)


def loss_with_scales(network, data, layer, step, scales):
    """The loss when the units of one recurrence are scaled after one step, for what is fed back
    as for what is passed up; a plain loop over steps and layers."""
    cells = [r.cell for r in recurrences(network)]
    total = 0.0
    for sequence, label in zip(data.sequences, data.labels, strict=True):
        states = [tuple(tf.zeros((1, c.units)) for _ in c.state_names) for c in cells]
        losses = []
        for t, frame in enumerate(sequence):
            value = network.get_layer("normalization")(frame[np.newaxis])
            for index, cell in enumerate(cells):
                constants = cell.begin()
                value, new = cell.step(cell.input_product(value), states[index], constants)
                if (index, t) == (layer, step):
                    basis = constants[0] if constants else tf.eye(cell.units)
                    value = tf.matmul(tf.matmul(value, basis) * scales, basis, transpose_b=True)
                    new = (value, *new[1:])
                states[index] = new
            logits = network.get_layer("head")(value)
            losses.append(-tf.nn.log_softmax(logits)[0, label].numpy())
        total += np.mean(losses)
    return total


@pytest.mark.parametrize("cell", ["lstm", "oru"])
def test_taylor_importance_is_that_of_finite_differences(cell):
    """|u dL/du| is what the loss changes by, per share, when u is scaled."""
    network, _ = random_network(cell, units=(3, 2))
    task = random_task(count=1)
    steps, change = int(task.train.lengths[0]), 0.02
    for layer, scores in enumerate(unit_importance(network, task)):
        expected = np.zeros(len(scores))
        for unit in range(len(scores)):
            for step in range(steps):
                low, high = (
                    loss_with_scales(
                        network,
                        task.train,
                        layer,
                        step,
                        np.where(np.arange(len(scores)) == unit, 1 + sign * change, 1.0).astype(
                            np.float32
                        ),
                    )
                    for sign in (-1, 1)
                )
                expected[unit] += abs(high - low) / (2 * change)
        np.testing.assert_allclose(scores, expected, rtol=0.02, atol=2e-4)


def test_importance_does_not_depend_on_batches(monkeypatch):
    """Sequences differ in length, so batches differ in padding."""
    network, _ = random_network("gru")
    task = random_task()
    units, inputs = unit_importance(network, task), input_importance(network, task)
    monkeypatch.setattr(importance_module, "SCORING_BATCH", 3)
    for actual, expected in zip(unit_importance(network, task), units, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
    np.testing.assert_allclose(input_importance(network, task), inputs, rtol=1e-4)


@pytest.mark.parametrize("importance", importance_module.IMPORTANCES)
@pytest.mark.parametrize("cell", CUTTABLE)
def test_units_that_do_nothing_go_first(cell, importance):
    """Weights of zero into two units and out of them: nothing is lost with them."""
    network, architecture = random_network(cell, units=(8,))
    layer, head = recurrences(network)[0], network.get_layer("head")
    dead = np.array([1, 6])
    alive = np.delete(np.arange(8), dead)
    q = layer.cell.orthogonal_matrix().numpy() if cell == "oru" else np.eye(8)
    mask = mask_of(8, alive)
    out_of = q @ np.diag(mask) @ q.T
    for weight in layer.cell.weights:
        name = weight.name
        if "reflectors" in name:
            continue
        values = weight.numpy() * np.tile(mask, weight.shape[-1] // 8)
        weight.assign(out_of @ values if "recurrent_kernel" in name else values)
    if cell == "oru-state":
        kernel = layer.cell.reflector_kernel
        kernel.assign(mask[:, np.newaxis] * kernel)
    head.kernel.assign(out_of @ head.kernel.numpy())
    smaller, smaller_architecture = prune_units(
        network, architecture, random_task(), 0.75, importance
    )
    assert smaller_architecture.units == (6,)
    np.testing.assert_allclose(
        smaller(frames()).numpy(), network(frames()).numpy(), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize(("keep", "units"), [(3, (3, 3)), (0.5, (4, 3)), (1.0, UNITS), (1, (1, 1))])
def test_keep_is_a_number_or_a_share(keep, units):
    network, architecture = random_network("gru")
    assert prune_units(network, architecture, random_task(), keep)[1].units == units


def test_norm_is_that_of_all_weights_that_go():
    """The squares of a network's weights, less those of the network without the unit."""
    network, architecture = random_network("gru", units=(4,))

    def squares(of):
        weights = [*recurrences(of)[0].cell.weights, of.get_layer("head").kernel]
        return sum(float((w.numpy() ** 2).sum()) for w in weights)

    (scores,) = unit_importance(network, random_task(), "norm")
    for unit in range(4):
        without, _ = keep_units(network, architecture, [np.delete(np.arange(4), unit)])
        recurrent = recurrences(network)[0].cell.recurrent_kernel.numpy()
        # A unit's weights from itself are counted on their way out and on their way in.
        both_ways = float((recurrent[unit, unit::4] ** 2).sum())
        assert scores[unit] ** 2 == pytest.approx(
            squares(network) - squares(without) + both_ways, rel=1e-4
        )


@pytest.mark.parametrize("importance", importance_module.IMPORTANCES)
def test_input_that_does_nothing_goes_first(importance):
    network, architecture = random_network("lstm")
    kernel = recurrences(network)[0].cell.kernel
    kernel.assign(kernel * mask_of(INPUTS, [0, 1, 2, 4])[:, np.newaxis])
    task = random_task()
    smaller, smaller_architecture, narrowed = prune_inputs(
        network, architecture, task, 4, importance
    )
    assert narrowed.channels == ("v", "w", "x", "z")
    assert smaller_architecture.inputs == 4
    np.testing.assert_allclose(
        predict(smaller, narrowed.test), predict(network, task.test), atol=TOLERANCE
    )


def test_input_that_never_moves_has_no_taylor_importance():
    network, _ = random_network("gru")
    task = random_task()
    for sequence in task.train.sequences:
        sequence[:, 2] = 7.0
    network.get_layer("normalization").adapt(*task.normalization)
    scores = input_importance(network, task)
    assert scores[2] < 1e-4 * np.delete(scores, 2).min()


def test_select_channels_narrows_all_data():
    task = random_task()
    assert task.front_end is None
    narrowed = select_channels(replace(task, front_end={"kind": "sound"}), [3, 0])
    assert narrowed.channels == ("y", "v")
    assert narrowed.front_end == {"kind": "sound", "kept_channels": [3, 0]}
    assert select_channels(task, [3, 0]).front_end is None
    for part in ("train", "validation", "test"):
        data, whole = getattr(narrowed, part), getattr(task, part)
        np.testing.assert_array_equal(data.padded, whole.padded[..., [3, 0]])
        np.testing.assert_array_equal(data.labels, whole.labels)
    np.testing.assert_allclose(
        narrowed.normalization, np.array(task.normalization)[:, [3, 0]], rtol=1e-5
    )


@pytest.mark.parametrize("indices", [[], [5], [-1], [1, 1], [0.5], [[0, 1]]])
def test_channels_that_are_not_there_are_refused(indices):
    with pytest.raises(ModelsError, match="different integers from 0 to 4"):
        select_channels(random_task(), indices)


@pytest.mark.parametrize("keep", [0, -1, 7, 0.0, 1.5, True, float("nan")])
def test_wrong_keep_is_refused(keep):
    """7 fits the first recurrence but not the second."""
    network, architecture = random_network("gru")
    with pytest.raises(ModelsError) as caught:
        prune_units(network, architecture, random_task(), keep)
    assert repr(keep) in caught.value.message
    assert "(int)" in caught.value.message
    assert "\n" not in caught.value.message


def test_wrong_calls_are_refused():
    network, architecture = random_network("gru")
    task = random_task()
    with pytest.raises(UnknownNameError, match="taylor"):
        prune_units(network, architecture, task, 3, "tailor")
    with pytest.raises(UnknownNameError, match="norm"):
        prune_inputs(network, architecture, task, 3, "norms")
    with pytest.raises(ModelsError, match="2 recurrences"):
        keep_units(network, architecture, KEPT[:1])
    with pytest.raises(ModelsError, match="belong together"):
        keep_units(network, replace(architecture, units=(9, 6)), KEPT)
    for further in ({"residual": True}, {"inputs": 1, "vocabulary": 9, "embedding": INPUTS}):
        odd = replace(architecture, units=(8, 8), **further)
        with pytest.raises(ModelsError, match="residual, hierarchical or reads tokens"):
            keep_units(odd.build(), odd, [np.arange(4), np.arange(4)])
    with pytest.raises(ModelsError, match="rounds must be 1 or more"):
        PruneSettings(keep=3, rounds=0)
    many = PruneSettings(keep=3, keep_inputs=9, rounds=1)
    with pytest.raises(ModelsError, match=r"inputs .* not 9"):
        prune_in_rounds(network, architecture, task, many, SETTINGS)


def test_importances_that_are_not_finite_are_refused():
    network, architecture = random_network("gru")
    kernel = recurrences(network)[0].cell.kernel
    kernel.assign(kernel * np.nan)
    with pytest.raises(ModelsError, match="not finite"):
        prune_units(network, architecture, random_task(), 3)


class PeepholeGRUCell(GRUCell):
    """A cell with weights of its own: two peepholes from the state, [2H]."""

    weight_axes: ClassVar = {**GRUCell.weight_axes, "peepholes": ("units",)}

    def build_recurrent(self):
        super().build_recurrent()
        self.peepholes = self.add_weight(name="peepholes", shape=(2 * self.units,))

    def step(self, product, states, constants):
        (h,) = states
        gates = tf.concat([h, h], -1) * self.peepholes
        return super().step(product + tf.pad(gates, ((0, 0), (0, self.units))), states, constants)


class UndeclaredCell(PeepholeGRUCell):
    weight_axes: ClassVar = GRUCell.weight_axes


@pytest.fixture
def new_cells(monkeypatch):
    for kind in (PeepholeGRUCell, UndeclaredCell):
        monkeypatch.setattr(f"models.cells.gru.{kind.__name__}", kind, raising=False)
        entry = CellEntry(f"gru.{kind.__name__}", "", "")
        monkeypatch.setitem(CELLS, kind.__name__, entry)


def test_new_cell_declares_its_weights_in_a_line(new_cells):
    network, architecture = random_network("PeepholeGRUCell")
    smaller, _ = keep_units(network, architecture, KEPT)
    for layer, kept in zip(recurrences(network), KEPT, strict=True):
        hold_at_zero(layer.cell, kept)
    np.testing.assert_allclose(
        smaller(frames()).numpy(), network(frames()).numpy(), atol=TOLERANCE, rtol=0
    )


def test_cell_that_does_not_declare_a_weight_is_refused(new_cells):
    network, architecture = random_network("UndeclaredCell")
    with pytest.raises(ModelsError, match=r"'peepholes'.*weight_axes"):
        keep_units(network, architecture, KEPT)


@pytest.fixture(scope="module")
def in_rounds(vowels, trained):
    """(result, what progress was told) of 16 -> 4 units in two rounds."""
    keras.utils.set_random_seed(1)
    told = []
    quarter = PruneSettings(keep=0.25, rounds=2)
    result = prune_in_rounds(
        *trained("gru"), vowels, quarter, SETTINGS, lambda *call: told.append(call)
    )
    return result, told


def test_rounds_shrink_by_the_same_share(in_rounds, trained):
    result, _ = in_rounds
    assert [entry["units"] for entry in result.facts["rounds"]] == [(8,), (4,)]
    assert result.architecture.units == (4,)
    assert result.channels is None
    assert result.network.output_shape == trained("gru")[0].output_shape
    assert trained("gru")[1].units == (16,)


def test_units_and_inputs_go_together(trained, vowels):
    """Both in equal steps; the channels are told by their places in the whole task."""
    both = PruneSettings(keep=8, keep_inputs=3, rounds=2)
    result = prune_in_rounds(*trained("gru"), vowels, both, replace(SETTINGS, epochs=2))
    rounds = [(entry["units"], entry["inputs"]) for entry in result.facts["rounds"]]
    assert rounds == [((11,), 6), ((8,), 3)]
    kept = result.history_facts()["channels_kept"]
    assert kept == list(result.channels)
    assert len(kept) == result.architecture.inputs == 3
    narrowed = select_channels(vowels, kept)
    loss, _ = evaluate(result.network, narrowed.validation)
    assert result.facts["rounds"][-1]["tuned_loss"] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(
        np.ravel(result.network.get_layer("normalization").get_weights()[0]),
        1 / vowels.normalization[1][kept],
        rtol=1e-5,
    )


def test_inputs_alone(trained, vowels):
    """The channels that matter least go, and no unit."""
    whole, architecture = trained("gru")
    half = PruneSettings(keep_inputs=0.5, rounds=1)
    result = prune_in_rounds(whole, architecture, vowels, half, replace(SETTINGS, epochs=1))
    smaller = result.architecture
    assert (smaller.units, smaller.inputs) == (architecture.units, 6)
    scores = input_importance(whole, vowels)
    assert set(result.channels) == set(np.argsort(scores)[6:])


def test_fine_tuning_mends_each_round(in_rounds, vowels, trained):
    """And the whole is better than cutting at once without it."""
    result, _ = in_rounds
    network, rounds = result.network, result.facts["rounds"]
    for entry in rounds:
        assert entry["tuned_loss"] < entry["cut_loss"]
    tuned_loss, tuned_score = evaluate(network, vowels.validation)
    assert rounds[-1]["tuned_loss"] == pytest.approx(tuned_loss, rel=1e-5)
    assert rounds[-1]["tuned_score"] == pytest.approx(tuned_score)
    at_once, _ = prune_units(*trained("gru"), vowels, 0.25)
    assert evaluate(network, vowels.test)[0] < evaluate(at_once, vowels.test)[0] - 0.1


def test_history_and_progress_go_over_all_rounds(in_rounds):
    result, told = in_rounds
    history = result.history
    epochs = 2 * SETTINGS.epochs
    assert [(epoch, total) for epoch, total, _ in told] == [
        (epoch, epochs) for epoch in range(1, epochs + 1)
    ]
    assert len(history.loss) == len(history.validation_loss) == epochs
    losses = history.validation_loss
    last_round = losses[SETTINGS.epochs :]
    assert history.best_epoch == SETTINGS.epochs + int(np.argmin(last_round))


@pytest.mark.parametrize("epoch", [3, 5])
def test_interrupted_rounds_go_on_where_they_were(vowels, trained, tmp_path, monkeypatch, epoch):
    """In the first round, before it is done, and in the second."""
    monkeypatch.setattr("models.training.CHECKPOINT_INTERVAL_S", 0)
    both = PruneSettings(keep=8, keep_inputs=6, rounds=2)
    settings = replace(SETTINGS, epochs=3)
    file = tmp_path / "c.npz"

    def run(progress=None, checkpoint=None):
        return prune_in_rounds(*trained("gru"), vowels, both, settings, progress, checkpoint)

    def interrupt(done, epochs, losses):
        if done == epoch:
            raise KeyboardInterrupt

    expected = run()
    with pytest.raises(KeyboardInterrupt):
        run(interrupt, file)
    epochs = []
    resumed = run(lambda done, *_: epochs.append(done), file)
    assert epochs == list(range(epoch, 7)), "it did not resume from the last epoch written"
    assert (resumed.architecture, resumed.channels) == (expected.architecture, expected.channels)
    assert [r["units"] for r in resumed.facts["rounds"]] == [(11,), (8,)]
    np.testing.assert_allclose(resumed.history.loss, expected.history.loss, atol=1e-5, rtol=0)
    assert_same_weights(resumed.network, expected.network, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_a_damaged_checkpoint_of_rounds_is_an_error_of_one_line(vowels, trained, tmp_path):
    file = tmp_path / "c.npz"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(ModelsError, match=r"c\.npz: the checkpoint cannot be read") as caught:
        prune_in_rounds(*trained("gru"), vowels, PruneSettings(keep=8), SETTINGS, None, file)
    assert "\n" not in caught.value.message


def test_step_model_takes_the_kept_channels(tmp_path):
    """A network without some units and inputs is exported like any other, with its task."""
    from convert.export import export

    network, architecture = random_network("gru", units=(6,))
    network, architecture = prune_units(network, architecture, random_task(), 4)
    network, architecture, task = prune_inputs(network, architecture, random_task(), 3)
    model = export(network, architecture, task, "float32", tmp_path / "cut.tflite")
    assert model.contract.input.shape == (1, 3)
    assert model.contract.channels == task.channels
    assert len(model.contract.normalization["mean"]) == 3
    assert [state.shape for state in model.contract.states] == [(1, 4)]
