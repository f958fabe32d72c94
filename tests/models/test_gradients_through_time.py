"""Gradients through time against finite differences, and where they decay."""

import numpy as np
import pytest
import tf_keras as keras

from models.gradient_health import gradient_norms_through_time
from models.network import Architecture, recurrences
from tests.models.reference_cells import REFERENCES, weights_by_name


def reference_loss(network, options, x, labels, disturbed=None):
    """Summed cross entropy after the last step in float64, with the references of the cells.

    Args:
        disturbed: (recurrence, step, [per state: what is added to it, [batch, H]]): how the
            states of a recurrence after ``step`` steps are changed.
    """
    normalization, head = network.get_layer("normalization"), network.get_layer("head")
    scale, shift, matrix, bias = (
        v.numpy().astype(np.float64)
        for v in (normalization.scale, normalization.shift, head.kernel, head.bias)
    )
    layers = recurrences(network)
    weights = [weights_by_name(layer.cell) for layer in layers]

    def disturb(states, index, step, sample):
        if disturbed is None or disturbed[:2] != (index, step):
            return states
        return {
            name: value + change[sample]
            for (name, value), change in zip(states.items(), disturbed[2], strict=True)
        }

    total = 0.0
    for sample, label in enumerate(labels):
        states = [
            disturb({s: np.zeros(layer.cell.units) for s in layer.cell.state_names}, i, 0, sample)
            for i, layer in enumerate(layers)
        ]
        for step, frame in enumerate(x[sample].astype(np.float64), start=1):
            value = frame * scale + shift
            for i, layer in enumerate(layers):
                reference = REFERENCES[layer.cell_name].step
                _, new = reference(value, states[i], weights[i], **options)
                states[i] = disturb(new, i, step, sample)
                value = new["h"]  # the output of every cell is its h; not disturbed
        logits = value @ matrix + bias
        total += np.log(np.exp(logits).sum()) - logits[label]
    return total


def finite_difference_norms(network, options, x, labels):
    """Compute what gradient_norms_through_time gives, from central differences in float64."""
    result = []
    for index, layer in enumerate(recurrences(network)):
        shape = (len(layer.cell.state_names), len(x), layer.cell.units)
        norms = []
        for step in range(x.shape[1]):
            gradient = np.zeros(shape)
            for position in np.ndindex(shape):
                change = np.zeros(shape)
                change[position] = 1e-5
                up = reference_loss(network, options, x, labels, (index, step, change))
                down = reference_loss(network, options, x, labels, (index, step, -change))
                gradient[position] = (up - down) / 2e-5
            norms.append(np.sqrt((gradient**2).sum((0, 2))).mean())
        result.append(norms)
    return result


@pytest.mark.parametrize(
    ("cell", "options", "units"),
    [
        ("simple-rnn", {}, (3,)),
        ("lstm", {}, (3,)),
        ("gru", {"reset_after": True}, (3,)),
        ("gru", {"reset_after": False}, (3,)),
        ("oru", {}, (3,)),
        ("oru-state", {}, (3,)),
        ("gru", {}, (3, 2)),
    ],
)
def test_gradient_norms_equal_finite_differences(cell, options, units):
    """What a step hands to the next is disturbed, and the loss after the last step watched."""
    network = Architecture(cell, units, 2, 3, options).build()
    generator = np.random.default_rng(0)
    network.set_weights([generator.normal(0, 0.8, w.shape) for w in network.get_weights()])
    x = generator.normal(size=(2, 4, 2)).astype(np.float32)
    labels = np.array([0, 2])
    actual = gradient_norms_through_time(network, x, labels)
    expected = finite_difference_norms(network, options, x, labels)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)


def test_gradients_of_small_recurrent_weights_decay():
    """Every step back multiplies by tanh' <= 1 and by a matrix of spectral norm 0.3."""
    keras.utils.set_random_seed(3)
    network = Architecture("simple-rnn", (6,), 2, 3).build()
    (layer,) = recurrences(network)
    layer.cell.recurrent_kernel.assign(0.3 * layer.cell.recurrent_kernel)
    x = np.random.default_rng(3).normal(size=(4, 10, 2)).astype(np.float32)
    (norms,) = gradient_norms_through_time(network, x, np.array([0, 1, 2, 0]))
    ratios = np.array(norms[:-1]) / np.array(norms[1:])
    assert len(norms) == 10
    assert (ratios <= 0.3 + 1e-4).all()
    assert norms[0] < norms[-1] * 0.3**9 * (1 + 1e-3)


def test_gradients_of_a_linear_orthogonal_recurrence_neither_decay_nor_grow():
    """Near h = 0 tanh is the identity, and an orthogonal matrix keeps every length."""
    keras.utils.set_random_seed(3)
    network = Architecture("simple-rnn", (6,), 2, 3).build()
    x = np.zeros((2, 10, 2), np.float32)
    (norms,) = gradient_norms_through_time(network, x, np.array([0, 1]))
    np.testing.assert_allclose(norms, norms[-1], rtol=1e-4)


def test_gradients_of_values_equal_finite_differences_of_the_head():
    """Of a linear last step: d |y - wanted|^2 / 2 outputs reaches the last state through it."""
    keras.utils.set_random_seed(3)
    network = Architecture("simple-rnn", (4,), 2, 2, gives_values=True).build()
    x = np.zeros((1, 3, 2), np.float32)
    wanted = np.array([[1.0, -2.0]], np.float32)
    (norms,) = gradient_norms_through_time(network, x, wanted, values=True)
    (layer,) = recurrences(network)
    head = network.get_layer("head")
    # With h = 0 before it, the last step's tanh is the identity: y = h R H.
    back = layer.cell.recurrent_kernel.numpy() @ head.kernel.numpy()
    expected = np.linalg.norm(back @ (head.bias.numpy() - wanted[0]))
    assert norms[-1] == pytest.approx(expected, rel=1e-4)
