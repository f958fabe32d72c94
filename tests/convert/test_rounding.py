"""Compensated rounding: on the grid that is stored, and better than the nearest step."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.ranges import MomentCollector
from calibration.rollout import long_streams
from convert.errors import ContractViolationError, SchemeWordsError
from convert.export import float_step
from convert.schemes import apply_scheme, parse_scheme
from convert.schemes.rounding import LARGEST, compensate, round_columns
from convert.tflite_editor import TfliteEditor
from convert.verify import verify_on_runtimes
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from models.network import Architecture, recurrences


def moment_of(inputs):
    collector = MomentCollector()
    collector.add(inputs)
    return collector.result()


def nearest(weights, per_channel):
    axis = 1 if per_channel else None
    scale = np.abs(weights).max(axis=axis, keepdims=True) / LARGEST
    return np.rint(weights / scale) * scale


def correlated(steps, width, random, rank=3):
    """Inputs [steps, width] that vary in a few directions, as a recurrent state does."""
    mixed = random.normal(size=(steps, rank)) @ random.normal(size=(rank, width))
    return mixed + 0.01 * random.normal(size=(steps, width))


@settings(deadline=None, max_examples=60)
@given(
    outputs=st.integers(1, 9), inputs=st.integers(1, 9), per_channel=st.booleans(),
    dead=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_weights_are_on_the_grid_of_their_largest(outputs, inputs, per_channel, dead, seed):
    random = np.random.default_rng(seed)
    weights = random.normal(size=(outputs, inputs)).astype(np.float32)
    given_inputs = random.normal(size=(50, inputs)) * (not dead)
    rounded, bias = round_columns(weights, None, moment_of(given_inputs), per_channel)
    assert bias is None
    assert rounded.dtype == np.float32
    axis = 1 if per_channel else None
    largest = np.abs(weights).max(axis=axis, keepdims=True)
    # The quantizer, which takes the scale from what it is given, finds the same one.
    np.testing.assert_array_equal(np.abs(rounded).max(axis=axis, keepdims=True), largest)
    steps = rounded / (largest / LARGEST)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


@pytest.mark.parametrize("per_channel", [False, True])
def test_uncorrelated_inputs_are_rounded_to_the_nearest(per_channel):
    weights = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    rounded, _ = round_columns(weights, None, np.eye(6), per_channel)
    np.testing.assert_allclose(rounded, nearest(weights, per_channel), atol=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_product_of_correlated_inputs_is_much_nearer(per_channel):
    random = np.random.default_rng(2)
    weights = random.normal(size=(24, 32)).astype(np.float32)
    inputs = correlated(2000, 32, random)
    rounded, _ = round_columns(weights, None, moment_of(inputs), per_channel)

    def error(matrix):
        return np.sqrt(np.mean((inputs @ (matrix - weights).T) ** 2))

    assert error(rounded) < error(nearest(weights, per_channel)) / 3


def test_the_bias_takes_what_is_left_of_the_mean():
    random = np.random.default_rng(3)
    weights = random.normal(size=(16, 4)).astype(np.float32)
    bias = random.normal(size=16).astype(np.float32)
    inputs = 5 + random.normal(size=(4000, 4))
    rounded, moved = round_columns(weights, bias, moment_of(inputs), per_channel=True)
    wanted, given_outputs = inputs @ weights.T + bias, inputs @ rounded.T + moved
    left = np.abs((given_outputs - wanted).mean(0))
    without = np.abs((inputs @ nearest(weights, True).T + bias - wanted).mean(0))
    assert left.max() < 0.01 * without.max()


def test_a_matrix_of_zeros_stays_one():
    rounded, bias = round_columns(
        np.zeros((3, 2), np.float32), np.ones(3, np.float32), moment_of(np.zeros((9, 2))), True
    )
    assert not rounded.any()
    np.testing.assert_allclose(bias, 1)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "dynamic"])
@pytest.mark.parametrize("words", ["compensated", "per-channel:compensated"])
def test_the_stored_weights_are_the_compensated_ones(calibrated, scheme, words):
    """The quantizer must find nothing left to round."""
    step, ranges = calibrated("lstm")
    spec = parse_scheme(f"{scheme}:{words}")
    stored = apply_scheme(spec, step, ranges)
    wanted = compensate(step.flatbuffer, ranges, spec.per_channel)

    def matrices(flatbuffer):
        graph = read_graph(flatbuffer)
        products = [op for op in graph.operators if op.name == "FULLY_CONNECTED"]
        return [read_constant(flatbuffer, graph.tensors[op.inputs[1]]) for op in products]

    moved = 0
    for given_matrix, after, before in zip(
        matrices(stored), matrices(wanted), matrices(step.flatbuffer), strict=True
    ):
        np.testing.assert_allclose(given_matrix, after, atol=1e-4 * np.abs(after).max())
        moved += np.abs(after - nearest(before, spec.per_channel)).max() > 1e-3
    assert moved


def test_equal_constants_are_changed_apart(vowels):
    """Equal constants share one buffer of the float graph."""
    keras.utils.set_random_seed(1)
    network = Architecture("gru", (8, 8), 12, 9).build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    for layer in recurrences(network):
        layer.cell.bias.assign(np.full(24, 0.5))
    step = float_step(network)
    editor = TfliteEditor(step.flatbuffer)
    tensors = editor.tree.subgraphs[0].tensors
    products = [op for op in editor.tree.subgraphs[0].operators if len(op.inputs) == 3]
    biases = [tensors[op.inputs[2]] for op in products if op.inputs[2] >= 0]
    first, second = [bias for bias in biases if list(bias.shape) == [24]][:2]
    second.buffer = first.buffer
    step = replace(step, flatbuffer=editor.flatbuffer())
    streams = [np.abs(stream) for stream in long_streams(vowels.train.sequences, 500, 1)]
    ranges = step.calibrate(streams)
    changed = compensate(step.flatbuffer, ranges, per_channel=True)
    before, after = (constants(flatbuffer) for flatbuffer in (step.flatbuffer, changed))
    # Nothing but matrices and the biases of their products has changed.
    graph = read_graph(step.flatbuffer)
    products = [op for op in graph.operators if op.name == "FULLY_CONNECTED"]
    may_change = {graph.tensors[i].name for op in products for i in op.inputs[1:] if i >= 0}
    for name, values in before.items():
        if name not in may_change:
            np.testing.assert_array_equal(after[name], values)
    for op in products:
        given_name, matrix = (graph.tensors[i].name for i in op.inputs[:2])
        bias = graph.tensors[op.inputs[2]].name if op.inputs[2:] and op.inputs[2] >= 0 else None
        rounded, moved = round_columns(
            before[matrix],
            before[bias] if bias else None,
            ranges.moments[given_name],
            per_channel=True,
        )
        np.testing.assert_array_equal(after[matrix], rounded)
        if bias:
            np.testing.assert_array_equal(after[bias], moved)


def constants(flatbuffer):
    graph = read_graph(flatbuffer)
    return {
        tensor.name: read_constant(flatbuffer, tensor)
        for tensor in graph.tensors
        if tensor.constant_bytes
    }


@pytest.mark.slow
def test_it_is_verified_on_every_runtime(step_models):
    paths = [step_models("gru", f"{name}:compensated") for name in ("int8", "int16x8", "dynamic")]
    assert not [item["failure"] for item in verify_on_runtimes(paths) if item["failure"]]
    assert load_step_model(paths[0]).contract.scheme == "int8:compensated"


def test_it_needs_a_roll_out(trained):
    spec = parse_scheme("dynamic:compensated")
    with pytest.raises(ContractViolationError, match="calibrate first"):
        apply_scheme(spec, float_step(trained("gru")[0]))


def test_weights_that_were_trained_for_rounding_are_left_alone():
    with pytest.raises(SchemeWordsError, match="compensated"):
        parse_scheme("int8:qat:compensated")
