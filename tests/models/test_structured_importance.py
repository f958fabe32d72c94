"""Structured pruning: what matters least, against finite differences, and that it goes first."""

import numpy as np
import pytest
import tensorflow as tf

from models.compress.structured import importance as importance_module
from models.compress.structured.cut import keep_units
from models.compress.structured.importance import input_importance, unit_importance
from models.compress.structured.rounds import prune_inputs, prune_units
from models.errors import ModelsError
from models.network import recurrences
from models.prediction import predict
from tests.models.random_networks import (
    CUTTABLE,
    INPUTS,
    UNITS,
    frames,
    mask_of,
    random_network,
    random_task,
)

TOLERANCE = 2e-5


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


def test_importances_that_are_not_finite_are_refused():
    network, architecture = random_network("gru")
    kernel = recurrences(network)[0].cell.kernel
    kernel.assign(kernel * np.nan)
    with pytest.raises(ModelsError, match="not finite"):
        prune_units(network, architecture, random_task(), 3)
