"""What every recurrent cell must keep; run for all that are listed in models.cells.CELLS."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from models.cells import make_cell
from models.layers import Recurrence
from tests.models import reference_cells
from tests.models.reference_cells import REFERENCES, weights_by_name

INPUTS, UNITS, STEPS, BATCH = 6, 8, 30, 3
TOLERANCE = 1e-5
# Numbers of steps at which a scan is cut differently.
LENGTHS = (1, 2, 3, 7, 64, 201)


def check_cell(name: str) -> None:
    """Hold a cell against its equations, written in tests/models/reference_cells/, and against
    what it promises."""
    assert name in REFERENCES, (
        f"no reference for {name}: write one step of it in NumPy from its equations in a file of "
        "the cell's name in tests/models/reference_cells/"
    )
    for options in REFERENCES[name].options:
        _equals_its_reference(name, options)
        _runs_over_sequences_as_its_reference(name, options)
        _is_rebuilt_by_its_config(name, options)
    _folds_a_normalization(name)
    _keeps_its_bounds(name)
    _is_in_parallel_what_the_loop_is(name)


def built_cell(name, options=None, seed=0, scale=0.5, units=UNITS):
    """Make a cell whose weights and biases are all random."""
    cell = make_cell(name, units, options)
    cell.build((None, INPUTS))
    generator = np.random.default_rng(seed)
    cell.set_weights([generator.normal(0, scale, w.shape) for w in cell.weights])
    return cell


def state_shapes(cell, *batch):
    """Shape of each state by name, with the batch axis in front where one is given."""
    return {
        name: (*batch, *shape)
        for name, shape in zip(cell.state_names, cell.state_shapes, strict=True)
    }


def sequences(seed=1, steps=STEPS, scale=1.0):
    """Random inputs [BATCH, steps, INPUTS]."""
    generator = np.random.default_rng(seed)
    return generator.normal(0, scale, (BATCH, steps, INPUTS)).astype(np.float32)


def recurrence_like(name, options, cell):
    """Make a Recurrence with the weights of a cell."""
    layer = Recurrence(name, cell.units, options)
    layer.build((None, None, INPUTS))
    layer.set_weights(cell.get_weights())
    return layer


def _equals_its_reference(name, options):
    """Step by step, output and states."""
    cell = built_cell(name, options)
    x = sequences()
    generator = np.random.default_rng(2)
    start = {
        state: generator.uniform(0.1 if state in REFERENCES[name].positive else -0.9, 0.9, shape)
        for state, shape in state_shapes(cell, BATCH).items()
    }
    states = [tf.constant(start[s], tf.float32) for s in cell.state_names]
    outputs, history = [], []
    for step in range(STEPS):
        output, states = cell(tf.constant(x[:, step]), states)
        outputs.append(output.numpy())
        history.append([state.numpy() for state in states])
    for sample in range(BATCH):
        expected, expected_states = reference_cells.run(
            name,
            options,
            x[sample],
            {s: v[sample] for s, v in start.items()},
            weights_by_name(cell),
        )
        np.testing.assert_allclose(np.array(outputs)[:, sample], expected, atol=TOLERANCE, rtol=0)
        for index, state in enumerate(cell.state_names):
            actual = np.array([step_states[index][sample] for step_states in history])
            np.testing.assert_allclose(actual, expected_states[state], atol=TOLERANCE, rtol=0)


def _runs_over_sequences_as_its_reference(name, options):
    """Both ways to run a cell over a whole sequence, from states of zero."""
    cell = built_cell(name, options)
    x = sequences()
    in_keras = keras.layers.RNN(cell, return_sequences=True)(x).numpy()
    in_ours = recurrence_like(name, options, cell)(x).numpy()
    zeros = {state: np.zeros(shape) for state, shape in state_shapes(cell).items()}
    expected = [
        reference_cells.run(name, options, sample, zeros, weights_by_name(cell))[0] for sample in x
    ]
    np.testing.assert_allclose(in_ours, expected, atol=2 * TOLERANCE, rtol=0)
    np.testing.assert_allclose(in_keras, expected, atol=2 * TOLERANCE, rtol=0)


def _is_rebuilt_by_its_config(name, options):
    """Pruning clones networks from their configuration."""
    cell = built_cell(name, options)
    copy = type(cell).from_config(cell.get_config())
    copy.build((None, INPUTS))
    copy.set_weights(cell.get_weights())
    x = tf.constant(sequences()[:, 0])
    states = [tf.fill(shape, 0.3) for shape in state_shapes(cell, BATCH).values()]
    np.testing.assert_array_equal(copy(x, states)[0].numpy(), cell(x, states)[0].numpy())


def _folds_a_normalization(name):
    """Check that the input product takes the inputs' scale and shift into its weights."""
    cell = built_cell(name)
    x = sequences()
    generator = np.random.default_rng(3)
    scale = generator.uniform(0.2, 3, INPUTS)
    shift = generator.normal(0, 2, INPUTS)
    folded = cell.input_product(x, tf.constant(scale, tf.float32), tf.constant(shift, tf.float32))
    # In double precision; of cells that store it otherwise, this is the matrix they multiply with.
    (kernel,) = (np.asarray(item, np.float64) for item in cell.input_matrices())
    expected = (x * scale + shift) @ kernel + weights_by_name(cell).get("bias", 0)
    np.testing.assert_allclose(folded.numpy(), expected, atol=TOLERANCE, rtol=TOLERANCE)


def _keeps_its_bounds(name):
    """With weights so large that the states come close to their bounds."""
    cell = built_cell(name, scale=3)
    x = sequences(steps=100, scale=3)
    states = [tf.zeros(shape) for shape in state_shapes(cell, BATCH).values()]
    largest = dict.fromkeys(cell.state_names, 0.0)
    for step in range(x.shape[1]):
        _, states = cell(tf.constant(x[:, step]), states)
        for state, value in zip(cell.state_names, states, strict=True):
            largest[state] = max(largest[state], float(np.abs(value).max()))
    for state, bound in cell.state_bounds.items():
        assert 0.9 * bound < largest[state] <= bound + 1e-6


def _is_in_parallel_what_the_loop_is(name):
    """In values and derivatives, where the cell has a form without a loop."""
    layer = recurrence_like(name, {}, built_cell(name))
    for steps in LENGTHS:
        x = tf.constant(sequences(steps=steps))
        if layer.cell.parallel(layer.cell.input_product(x)) is None:
            return
        found = []
        for looped in (False, True):
            with tf.GradientTape() as tape:
                tape.watch(x)
                product = layer.cell.input_product(x)
                outputs = layer._step_by_step(product) if looped else layer.cell.parallel(product)
                loss = tf.reduce_sum(outputs**2)
            found.append([outputs, *tape.gradient(loss, [x, *layer.trainable_variables])])
        for parallel, loop in zip(*found, strict=True):
            scale = float(tf.reduce_max(tf.abs(loop)))
            np.testing.assert_allclose(parallel, loop, atol=1e-5 * max(1, scale), rtol=0)
