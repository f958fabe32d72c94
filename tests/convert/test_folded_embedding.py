"""Products of embedding and input matrix folded into one table: same outputs, no input product."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from convert.export import float_step
from convert.schemes import apply_scheme, parse_scheme
from convert.step.keras_graph import keras_step_graph
from convert.step.step_module import StepModule
from device_runner.model.flatbuffer import read_graph
from models.network import Architecture

VOCABULARY = 30
TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, 60).astype(np.int32)[:, np.newaxis]


def token_network(cell: str = "gru", vocabulary: int = VOCABULARY, **options) -> keras.Model:
    architecture = Architecture(
        cell, (16, 16), 1, 4, vocabulary=vocabulary, embedding=12, **options
    )
    network = architecture.build()
    # So that the outputs depend on the table, which begins near zero, and on the bias.
    generator = np.random.default_rng(3)
    for weight in network.weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))
    return network


def wanted(network: keras.Model) -> np.ndarray:
    return network(TOKENS[np.newaxis], training=False).numpy()[0]


def stepped(module: StepModule) -> np.ndarray:
    """Outputs [steps, outputs] of the step as TensorFlow computes it."""
    states = [tf.zeros((1, *state.shape)) for state in module.states.values()]
    outputs = []
    for token in TOKENS:
        given = module.step(tf.constant(token[np.newaxis]), *states)
        states = [given[name] for name in module.states]
        outputs.append(given["y"].numpy()[0])
    return np.array(outputs)


def products(module: StepModule) -> int:
    """Matrix products in the step."""
    operations = module.step.get_concrete_function().graph.get_operations()
    return [operation.type for operation in operations].count("MatMul")


@pytest.mark.parametrize("cell", ["simple-rnn", "lstm", "gru"])
def test_the_folded_step_computes_the_same_with_one_product_less(cell):
    network = token_network(cell)
    plain, folded = (
        StepModule(keras_step_graph(network), False),
        StepModule(keras_step_graph(network), True),
    )
    assert np.ptp(wanted(network)) > 0.5
    np.testing.assert_allclose(stepped(folded), stepped(plain), atol=1e-5)
    np.testing.assert_allclose(stepped(folded), wanted(network), atol=1e-5)
    assert products(folded) == products(plain) - 1


def test_by_default_only_a_small_table_is_folded():
    small, large = token_network(), token_network(vocabulary=3000)
    assert products(StepModule(keras_step_graph(small))) == products(
        StepModule(keras_step_graph(small), True)
    )
    assert products(StepModule(keras_step_graph(large))) == products(
        StepModule(keras_step_graph(large), False)
    )


def test_dropout_between_does_not_hinder_and_a_residual_layer_keeps_its_product():
    network = token_network(dropout=0.5, residual=True)
    folded = StepModule(keras_step_graph(network), True)
    np.testing.assert_allclose(stepped(folded), wanted(network), atol=1e-5)
    assert products(folded) == products(StepModule(keras_step_graph(network), False)) - 1


def test_the_folded_graph_is_as_good_in_float_and_in_int8():
    network = token_network()
    step = float_step(network, fold_embedding=True)
    operators = [operator.name for operator in read_graph(step.flatbuffer).operators]
    assert operators.count("FULLY_CONNECTED") == 4  # two recurrences, one input, the head
    assert operators.count("GATHER") == 1
    np.testing.assert_allclose(run(step.flatbuffer), wanted(network), atol=1e-5)
    quantized = apply_scheme(parse_scheme("int8"), step, step.calibrate([TOKENS]))
    graph = read_graph(quantized)
    y = graph.tensors[graph.signature("step").outputs["y"]]
    values = (run(quantized).astype(np.float32) - y.zero_points[0]) * y.scales[0]
    error = np.sqrt(np.mean((values - wanted(network)) ** 2))
    assert error < 0.03 * np.ptp(wanted(network))


def run(flatbuffer: bytes) -> np.ndarray:
    """Outputs [steps, outputs] of a step graph as stored; every state begins with zeros."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=flatbuffer).get_signature_runner("step")
    graph = read_graph(flatbuffer)
    values = {}
    for name, index in graph.signature("step").inputs.items():
        tensor = graph.tensors[index]
        zero = tensor.zero_points[0] if tensor.zero_points else 0
        values[name] = np.full(tensor.shape, zero, tensor.dtype)
    outputs = []
    for token in TOKENS:
        given = runner(**{**values, "x": token[np.newaxis]})
        values = {name: given[name] for name in values if name != "x"}
        outputs.append(given["y"][0])
    return np.array(outputs)
