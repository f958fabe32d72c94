"""Whether what is known of an operator is whole: a row, TensorFlow, ONNX, and a graph for tests."""

from __future__ import annotations

import json

import pytest

from convert.exporters.onnx_graph import ACTIVATION_NODES
from convert.operators.in_onnx import LOWERINGS, WITHOUT_FORM
from convert.operators.in_tensorflow import ACTIVATE as IN_TENSORFLOW
from convert.operators.in_tensorflow import SIMULATED
from convert.targets import DATA, RUNTIMES_FILE, TARGETS, VERSIONS_FILE
from convert.targets.runtimes import release_of
from device_runner.model.tflite_schema import OPERATOR_NAMES
from device_runner.operators import OPERATORS
from device_runner.operators.row import ACTIVATE, Form
from tests.operator_graphs import GRAPHS

# Operators of quantized graphs alone; the cells' int8 models hold them.
QUANTIZED = {"DEQUANTIZE", "QUANTIZE"}
INT8 = {name for name, row in OPERATORS.items() if Form.INT8 in row.versions}


def of(graph: str) -> str:
    """The operator that a graph is there for."""
    return graph.partition(" ")[0]


def test_what_quantizes_can_be_trained():
    assert set(SIMULATED) == INT8


def test_what_is_computed_has_an_onnx_form_or_a_reason():
    computed = {name for name, row in OPERATORS.items() if row.compute}
    assert set(LOWERINGS) | set(WITHOUT_FORM) == computed
    assert not set(LOWERINGS) & set(WITHOUT_FORM)
    assert all(WITHOUT_FORM.values())


def test_what_is_computed_has_a_graph():
    computed = {name for name, row in OPERATORS.items() if row.compute}
    assert {of(graph) for graph in GRAPHS} == computed - QUANTIZED


def test_fused_activations_are_everywhere():
    assert set(IN_TENSORFLOW) == set(ACTIVATE) == {"NONE", *ACTIVATION_NODES}


@pytest.mark.parametrize("row", OPERATORS.values(), ids=OPERATORS)
def test_a_version_that_we_write_is_in_a_release(row):
    assert all(release_of(row.name, version) for version in row.versions.values())


@pytest.mark.parametrize("name", [VERSIONS_FILE, RUNTIMES_FILE, *(f"{t}.json" for t in TARGETS)])
def test_what_targets_say_is_of_operators_there_are(name):
    """The tables of what runtimes and targets have: of the schema's operators, all of ours among
    those of TensorFlow Lite."""
    operators = json.loads((DATA / name).read_text(encoding="utf-8"))["operators"]
    if operators == "runtime":
        return
    assert set(operators) <= set(OPERATOR_NAMES)
    if name in (VERSIONS_FILE, RUNTIMES_FILE):
        assert set(OPERATORS) <= set(operators)
