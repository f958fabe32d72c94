"""Structured pruning: the cut against holding units at zero, and what is refused."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

from models.cells import CELLS, CellEntry
from models.cells.gru import GRUCell
from models.compress import PruneSettings
from models.compress.structured.cut import keep_inputs, keep_units, select_channels
from models.compress.structured.rounds import prune_in_rounds, prune_inputs, prune_units
from models.errors import ModelsError, UnknownNameError
from models.network import load_network, recurrences, save_network
from models.training_settings import TrainingSettings
from tests.models.random_networks import (
    CUTTABLE,
    INPUTS,
    frames,
    mask_of,
    random_network,
    random_task,
)
from tests.models.reference_cells import REFERENCES

KEPT = [np.array([0, 2, 3, 7]), np.array([5, 1, 2])]
TOLERANCE = 2e-5
ORTHOGONALITY = 1e-5
SETTINGS = TrainingSettings(epochs=4, learning_rate=5e-3)
VARIANTS = [
    *((name, options) for name in CUTTABLE for options in REFERENCES[name].options),
    ("oru", {"reflections": 6}),
]


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
