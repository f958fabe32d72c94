"""Random ONNX networks are stepped as ONNX Runtime computes them."""

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from convert.importers.onnx.importer import imported_graph
from tests.convert.importers.float_steps import largest_error_in_time
from tests.convert.importers.random_onnx import random_network


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_a_random_network_is_stepped_as_onnx_runtime_computes_it(seed):
    imported = imported_graph(random_network(seed), "net")
    assert largest_error_in_time(imported) < 1e-4
