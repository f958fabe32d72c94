"""What single cells promise; what all of them keep is in tests/checks/cells.py."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from models.cells import CELLS, make_cell
from models.errors import ModelsError, UnknownNameError
from models.network import recurrences
from tests.checks.cells import (
    BATCH,
    INPUTS,
    TOLERANCE,
    UNITS,
    built_cell,
    recurrence_like,
    sequences,
    state_shapes,
)
from tests.models.reference_cells import REFERENCES, matrix, weights_by_name
from tests.models.reference_cells.equations import householder, orthogonal_matrix

ORTHOGONALITY = 1e-5

WITH_RECURRENT_MATRIX = [
    name for name, item in REFERENCES.items() if any("rank" in options for options in item.options)
]


def orthogonality_errors(q):
    """Spectral and Frobenius norm of Q^T Q - I."""
    error = q.astype(np.float64).T @ q.astype(np.float64) - np.eye(len(q))
    return np.linalg.norm(error, 2), np.linalg.norm(error, "fro")


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize(
    ("name", "options", "keras_layer"),
    [
        ("simple-rnn", {}, keras.layers.SimpleRNN),
        ("lstm", {}, keras.layers.LSTM),
        ("gru", {"reset_after": True}, keras.layers.GRU),
        ("gru", {"reset_after": False}, keras.layers.GRU),
    ],
)
def test_cell_equals_the_layer_of_keras(name, options, keras_layer, rank):
    cell = built_cell(name, {**options, "rank": rank})
    bias = cell.bias.numpy()
    if options.get("reset_after"):
        bias = np.stack([bias, cell.recurrent_bias.numpy()])
    layer = keras_layer(UNITS, return_sequences=True, **options)
    layer.build((None, None, INPUTS))
    layer.set_weights(
        [cell.kernel.numpy(), matrix(weights_by_name(cell), "recurrent_kernel"), bias]
    )
    x = sequences()
    ours = recurrence_like(name, {**options, "rank": rank}, cell)(x).numpy()
    np.testing.assert_allclose(ours, layer(x).numpy(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["oru", "oru-state"])
def test_orthogonal_units_bound_the_length_of_the_state(name):
    """Q keeps the length of h~, each coordinate of which is at most 1."""
    layer = recurrence_like(name, {}, built_cell(name, scale=3))
    lengths = np.linalg.norm(layer(sequences(steps=100, scale=3)).numpy(), axis=-1)
    assert 0.9 * np.sqrt(UNITS) < lengths.max() <= np.sqrt(UNITS) + 1e-4


def test_orthogonal_matrix_is_the_product_of_the_reflections():
    cell = built_cell("oru", units=UNITS)
    expected = orthogonal_matrix(cell.reflectors.numpy().astype(np.float64))
    np.testing.assert_allclose(cell.orthogonal_matrix().numpy(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("units", [16, 128])
def test_oru_matrix_is_orthogonal_at_random_start(units):
    keras.utils.set_random_seed(1)
    cell = make_cell("oru", units)
    cell.build((None, INPUTS))
    spectral, frobenius = orthogonality_errors(cell.orthogonal_matrix().numpy())
    assert spectral < ORTHOGONALITY
    assert frobenius < ORTHOGONALITY


def test_oru_matrix_is_orthogonal_after_training(trained):
    (layer,) = recurrences(trained("oru")[0])
    spectral, frobenius = orthogonality_errors(layer.cell.orthogonal_matrix().numpy())
    assert spectral < ORTHOGONALITY
    assert frobenius < ORTHOGONALITY


def assert_reflections_orthogonal(cell, states):
    directions = cell.reflector(tf.constant(states, tf.float32)).numpy().astype(np.float64)
    errors = [orthogonality_errors(np.eye(len(u)) - 2 * np.outer(u, u)) for u in directions]
    assert np.max(errors) < ORTHOGONALITY


@pytest.mark.parametrize("units", [16, 128])
def test_state_oru_reflections_are_orthogonal_at_random_start(units):
    """At h = 0, where every sequence begins, and at random states."""
    keras.utils.set_random_seed(1)
    cell = make_cell("oru-state", units)
    cell.build((None, INPUTS))
    states = np.random.default_rng(0).uniform(-1, 1, (5, units))
    states[0] = 0
    assert_reflections_orthogonal(cell, states)


def test_state_oru_reflections_are_orthogonal_after_training(trained, vowels):
    """At h = 0 and at the states that real sequences lead to."""
    network, _ = trained("oru-state")
    (layer,) = recurrences(network)
    normalized = network.get_layer("normalization")(vowels.test.padded[:4, :7])
    visited = layer(normalized).numpy().reshape(-1, layer.cell.units)
    assert_reflections_orthogonal(layer.cell, np.vstack([np.zeros_like(visited[:1]), visited]))


def test_state_oru_reflects_across_the_documented_direction():
    """u is v / |v| with v = V h + b_v: the reflection is that over v."""
    cell = built_cell("oru-state")
    weights = weights_by_name(cell)
    h = np.random.default_rng(4).uniform(-1, 1, UNITS)
    u = cell.reflector(tf.constant(h[np.newaxis], tf.float32)).numpy()[0]
    v = weights["reflector_kernel"].T @ h + weights["reflector_bias"]
    np.testing.assert_allclose(
        np.eye(UNITS) - 2 * np.outer(u, u), householder(v), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("name", ["linear-attention", "min-gru", "min-lstm"])
def test_gates_that_saturate_leave_numbers(name):
    """A glitch of a sensor must not stay as NaN in a state."""
    cell = built_cell(name)
    far = tf.constant(np.full((1, INPUTS), 1e5, np.float32))
    for x in (far, -far):
        output, states = cell(x, [tf.zeros(shape) for shape in state_shapes(cell, 1).values()])
        assert all(np.isfinite(value).all() for value in (output, *states))


def test_linear_attention_forgets_at_its_rate():
    """After a step, zeros of keys: what it left decays by 1 - a a step, and is never divided by
    zero."""
    cell = built_cell("linear-attention")
    states = [tf.fill(shape, 0.8) for shape in state_shapes(cell, 1).values()]
    product = tf.constant(np.repeat([[0.0, -1e5, 1.0]], UNITS, axis=1), tf.float32)
    kept = (1 - tf.sigmoid(cell.rate).numpy()).reshape(1, -1, 1, 1)
    for step in range(1, 200):
        output, states = cell.step(product, tuple(states), cell.begin())
        for state in states:
            expected = np.broadcast_to(0.8 * kept**step, state.shape)
            np.testing.assert_allclose(state, expected, atol=1e-5)
        assert np.isfinite(output.numpy()).all()


def test_window_attention_sees_the_window_and_nothing_before():
    window = 5
    options = {"window": window}
    layer = recurrence_like("window-attention", options, built_cell("window-attention", options))
    x = sequences(steps=12)
    changed = x.copy()
    changed[:, 3] += 1
    differs = np.abs(layer(x).numpy() - layer(changed).numpy()).max((0, 2)) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(differs), np.arange(3, 3 + window))


@pytest.mark.parametrize("adjacency", ["uniform", "learned"])
def test_nodes_of_a_graph_share_their_matrices(adjacency):
    """With one bias for all nodes and the same mixing, exchanged nodes give exchanged states."""
    options = {"nodes": 2, "adjacency": adjacency}
    cell = built_cell("graph-gru", options)
    cell.bias.assign(tf.tile(cell.bias[: 3 * UNITS // 2], (2,)))
    if adjacency == "learned":
        cell.adjacency_logits.assign([[0.3, -1.0], [-1.0, 0.3]])
    layer = recurrence_like("graph-gru", options, cell)
    x = sequences()
    exchanged = layer(np.roll(x, INPUTS // 2, -1)).numpy()
    np.testing.assert_allclose(exchanged, np.roll(layer(x).numpy(), UNITS // 2, -1), atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(h := tf.fill((BATCH, UNITS), 0.1))
        first = cell(x[:, 0], h)[0][:, : UNITS // 2]
    # A node's state is moved by the other node's.
    assert np.abs(tape.gradient(first, h).numpy()[:, UNITS // 2 :]).max() > 1e-3


def test_a_graph_holds_fewer_recurrent_parameters():
    whole, graph = make_cell("gru", 16), make_cell("graph-gru", 16, {"nodes": 4})
    for cell in (whole, graph):
        cell.build((None, 8))
    # Two matrices of one node instead of one of all nodes.
    assert 4**2 / 2 * np.prod(graph.recurrent_kernel.shape) == np.prod(whole.recurrent_kernel.shape)


@pytest.mark.parametrize(
    ("cell", "options", "what"),
    [
        ("linear-attention", {"heads": 3}, "divides units"),
        ("window-attention", {"heads": 0}, "divides units"),
        ("window-attention", {"window": 1}, "of 2 or more, not 1"),
        ("graph-gru", {"nodes": 3}, "divides units"),
        ("graph-gru", {"nodes": 4}, "cannot be dealt out to 4 nodes"),
        ("graph-gru", {"adjacency": "given"}, "adjacency must be one of"),
    ],
)
def test_heads_windows_and_nodes_that_do_not_fit_are_refused(cell, options, what):
    with pytest.raises(ModelsError, match=what):
        make_cell(cell, UNITS, options).build((None, INPUTS))


def test_learned_mixing_of_fast_grnn_has_no_bound():
    """Why it is not the default: a gate that stays open adds up nu without end."""
    cell = make_cell("fast-grnn", UNITS, {"mixing": "learned"})
    assert cell.state_bounds == {}
    cell.build((None, INPUTS))
    cell.bias.assign(np.full(UNITS, 30))
    states = [tf.zeros((1, UNITS))]
    for _ in range(300):
        _, states = cell(tf.zeros((1, INPUTS)), states)
    assert float(tf.reduce_max(tf.abs(states[0]))) > 3


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", ["gru", "lstm", "simple-rnn"])
def test_four_groups_hold_a_quarter_of_the_recurrent_parameters(name, split):
    whole = make_cell(name, 16)
    grouped = make_cell(f"grouped-{name}", 16, {"groups": 4, "split_inputs": split})
    for cell in (whole, grouped):
        cell.build((None, 8))
    assert 4 * np.prod(grouped.recurrent_kernel.shape) == np.prod(whole.recurrent_kernel.shape)
    inputs = np.prod(whole.kernel.shape) / (4 if split else 1)
    assert np.prod(grouped.kernel.shape) == inputs


@pytest.mark.parametrize(
    ("options", "what"),
    [({"groups": 3}, "divides units"), ({"split_inputs": True}, "cannot be split into 4 groups")],
)
def test_groups_that_do_not_fit_are_refused(options, what):
    cell = "grouped-gru"
    with pytest.raises(ModelsError, match=what):
        make_cell(cell, UNITS, options).build((None, 6))


def test_forget_gate_of_lstm_starts_open():
    cell = make_cell("lstm", 2)
    cell.build((None, INPUTS))
    np.testing.assert_array_equal(cell.bias.numpy(), [0, 0, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("wrong", "meant"), [("gruu", "gru"), ("zzz", None), ("simple_rnn", "simple-rnn")]
)
def test_unknown_cell_suggests_the_nearest(wrong, meant):
    with pytest.raises(UnknownNameError) as caught:
        make_cell(wrong, UNITS)
    message = caught.value.message
    assert f"'{wrong}'" in message
    assert (f"did you mean '{meant}'?" in message) if meant else ("did you mean" not in message)
    assert all(name in message for name in CELLS)


@pytest.mark.parametrize(
    ("name", "option"), [("gru", "reset_befor"), ("lstm", "reset_after"), ("simple-rnn", "units")]
)
def test_unknown_option_is_refused(name, option):
    with pytest.raises(ModelsError) as caught:
        make_cell(name, UNITS, {option: 1})
    assert f"'{name}'" in caught.value.message
    assert option in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("rank", [0, UNITS + 1, -1, 2.0, "2", True])
@pytest.mark.parametrize("name", ["lstm", "gru", "oru"])
def test_wrong_rank_is_refused(name, rank):
    with pytest.raises(ModelsError) as caught:
        make_cell(name, UNITS, {"rank": rank})
    assert f"from 1 to units ({UNITS}), not {rank!r}" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", WITH_RECURRENT_MATRIX)
def test_low_rank_has_two_factors_in_place_of_the_matrix(name):
    whole, low = built_cell(name), built_cell(name, {"rank": 2})
    shapes = {n: w.shape for n, w in weights_by_name(whole).items()}
    (units, columns) = shapes.pop("recurrent_kernel")
    factors = {"recurrent_kernel_down": (units, 2), "recurrent_kernel_up": (2, columns)}
    assert {n: w.shape for n, w in weights_by_name(low).items()} == {**shapes, **factors}


@pytest.mark.parametrize("rank", [None, 3, UNITS])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_matrix_starts_with_singular_values_of_one(name, rank):
    cell = make_cell(name, UNITS, {"rank": rank})
    cell.build((None, INPUTS))
    values = np.linalg.svd(matrix(weights_by_name(cell), "recurrent_kernel"), compute_uv=False)
    ones = UNITS if rank is None else rank
    np.testing.assert_allclose(values, np.arange(UNITS) < ones, atol=1e-5)
