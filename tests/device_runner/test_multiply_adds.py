"""The products of a step, counted by hand and from its graph."""

import pytest

from device_runner.model.step_file import load_step_model
from device_runner.operators.multiply_adds import multiply_adds

INPUTS, UNITS, OUTPUTS = 12, 16, 9


@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize(("cell", "gates"), [("simple-rnn", 1), ("lstm", 4), ("gru", 3)])
def test_the_products_of_a_step(step_models, cell, gates, scheme):
    graph = load_step_model(step_models(cell, scheme)).graph
    assert multiply_adds(graph) == gates * UNITS * (INPUTS + UNITS) + UNITS * OUTPUTS
