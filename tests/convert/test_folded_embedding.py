"""Products of embedding and input matrix folded into one table: same outputs, no input product."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from calibration.rollout import roll_out
from convert.export import float_step
from convert.schemes import get_scheme
from device_runner.flatbuffer import read_graph
from models.network import Architecture

VOCABULARY = 30
TOKENS = np.random.default_rng(5).integers(0, VOCABULARY, 200).astype(np.int32)[:, np.newaxis]


def token_network(cell: str = "gru", vocabulary: int = VOCABULARY, **options) -> keras.Model:
    keras.utils.set_random_seed(3)
    architecture = Architecture(
        cell, (16, 16), 1, 4, vocabulary=vocabulary, embedding=12, **options
    )
    network = architecture.build()
    # So that the outputs depend on the table, which begins near zero, and on the bias.
    for weight in network.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(0, 0.5, weight.shape))
    return network


def run(flatbuffer: bytes, tokens: np.ndarray = TOKENS) -> np.ndarray:
    """Outputs [steps, outputs] of a float step graph."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=flatbuffer).get_signature_runner("step")
    values = {
        name: np.zeros(item["shape"], item["dtype"])
        for name, item in runner.get_input_details().items()
    }
    outputs = []
    for token in tokens:
        given = runner(**{**values, "x": token[np.newaxis]})
        values = {name: given[name] for name in values if name != "x"}
        outputs.append(given["y"][0])
    return np.array(outputs)


def products(flatbuffer: bytes) -> int:
    return [op.name for op in read_graph(flatbuffer).operators].count("FULLY_CONNECTED")


@pytest.mark.parametrize("cell", ["simple-rnn", "lstm", "gru"])
def test_the_folded_step_computes_the_same_with_one_product_less(cell):
    network = token_network(cell)
    plain = float_step(network, fold_embedding=False).flatbuffer
    folded = float_step(network, fold_embedding=True).flatbuffer
    reference = network(TOKENS[np.newaxis], training=False).numpy()[0]
    assert np.ptp(reference) > 0.5
    np.testing.assert_allclose(run(folded), run(plain), atol=1e-5)
    np.testing.assert_allclose(run(folded), reference, atol=1e-5)
    assert products(folded) == products(plain) - 1


def test_by_default_only_a_small_table_is_folded():
    small, large = token_network(), token_network(vocabulary=3000)
    assert products(float_step(small).flatbuffer) < products(float_step(large).flatbuffer)
    assert len(float_step(large).flatbuffer) < len(float_step(large, True).flatbuffer) / 2


def test_dropout_between_does_not_hinder_and_the_second_layer_keeps_its_product():
    network = token_network(dropout=0.5, residual=True)
    folded = float_step(network, fold_embedding=True).flatbuffer
    reference = network(TOKENS[np.newaxis], training=False).numpy()[0]
    np.testing.assert_allclose(run(folded), reference, atol=1e-5)


def test_the_folded_step_in_int8_is_no_worse():
    network = token_network()
    scheme, options = get_scheme("int8")
    reference = network(TOKENS[np.newaxis], training=False).numpy()[0]
    errors = {}
    for fold in (False, True):
        step = float_step(network, fold_embedding=fold)
        flatbuffer = scheme.apply(step, roll_out(step.flatbuffer, [TOKENS]), options)
        spec = read_graph(flatbuffer)
        y = spec.tensors[spec.signature("step").outputs["y"]]
        values = (run(flatbuffer).astype(np.float32) - y.zero_points[0]) * y.scales[0]
        errors[fold] = float(np.sqrt(np.mean((values - reference) ** 2)) / np.ptp(reference))
    assert errors[True] < max(0.02, 1.2 * errors[False])
