"""Whether what is known of an operator is whole: a row, TensorFlow, ONNX, and a graph for tests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from convert.errors import UnsupportedLayerError
from convert.exporters.onnx_graph import ACTIVATION_NODES
from convert.operators.in_onnx import LOWERINGS, WITHOUT_FORM
from convert.operators.in_tensorflow import ACTIVATE as IN_TENSORFLOW
from convert.operators.in_tensorflow import SIMULATED
from convert.schemes import apply_scheme, parse_scheme
from convert.schemes.scheme import FloatStep
from convert.schemes.tensor_ranges import tensor_limits
from convert.simulation import SimulatedNetwork
from convert.targets import DATA, RUNTIMES_FILE, TARGETS, VERSIONS_FILE
from convert.targets.runtimes import release_of
from device_runner.backends import load_backend
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import StepModel
from device_runner.model.tflite_schema import OPERATOR_NAMES
from device_runner.operators import OPERATORS
from device_runner.operators.row import ACTIVATE, Form
from tests.operator_graphs import GRAPHS, operator_flatbuffer, operator_model, random_frames

# Operators of quantized graphs alone; the cells' int8 models hold them.
QUANTIZED = {"DEQUANTIZE", "QUANTIZE"}
INT8 = {name for name, row in OPERATORS.items() if Form.INT8 in row.versions}


def of(graph: str) -> str:
    """Return the operator that a graph is meant to test."""
    return graph.partition(" ")[0]


def quantizes(graph: str) -> bool:
    """Tell whether all of a graph's operators have a form in int8."""
    return {op.name for op in read_graph(operator_flatbuffer(graph)).operators} <= INT8


# Graphs whose int8 form is not held against the simulation yet, though both are made: of x joined
# with the state, LiteRT's values are up to 165 levels away; the graph of one part of a SPLIT is
# refused by LiteRT ("failed to delegate SPLIT"). In the cells' graphs both operators agree.
NOT_COMPARED = {"CONCATENATION", "SPLIT"}
# Graphs whose y does not depend on the state, so that what makes the state is not learned.
OF_X_ALONE = {"FULLY_CONNECTED"}
# Graphs that are quantized after training alone, and why.
NOT_TRAINED = {
    "GATHER": "rows of a table of weights",  # which tests/hand_made_steps.py has
    "SUM of two axes": "over the batch",
}


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


@pytest.mark.parametrize("graph", [name for name in GRAPHS if of(name) in INT8])
def test_int8_is_what_training_simulates(tmp_path, graph):
    """A step of the simulation is a step of the int8 model, to a level or two, and all that is
    learned has a gradient."""
    if not quantizes(graph):
        pytest.skip("its graph holds another operator that does not quantize")
    step = FloatStep(operator_flatbuffer(graph), {"h": 1.0})
    ranges = step.calibrate([random_frames(60)])
    limits = tensor_limits(read_graph(step.flatbuffer), ranges, step.state_bounds, "min-max", 8)
    frames = random_frames(12)
    if graph in NOT_TRAINED:
        with pytest.raises(UnsupportedLayerError, match=NOT_TRAINED[graph]):
            SimulatedNetwork(step, limits, bounded=("h",))(frames[np.newaxis])
        return
    simulated = SimulatedNetwork(step, limits, bounded=("h",))
    with tf.GradientTape() as tape:
        y = simulated(frames[np.newaxis])
        loss = tf.reduce_sum(tf.square(y))
    learned = simulated.trainable_variables
    missing = [
        variable.name
        for variable, gradient in zip(learned, tape.gradient(loss, learned), strict=True)
        if gradient is None
    ]
    assert not missing or graph in OF_X_ALONE
    if graph in NOT_COMPARED:
        return
    flatbuffer = apply_scheme(
        parse_scheme("int8:qat"), replace(step, limits=simulated.limits()), None
    )
    model = operator_model(graph, tmp_path, flatbuffer)
    found = stepped(model, "litert", frames)
    scale = model.contract.output.scale
    difference = np.abs(found.reshape(-1) - y.numpy().reshape(-1)) / scale
    assert difference.max() <= 3
    assert difference.mean() < 0.5
    assert (np.abs(found - stepped(model, "reference", frames)) / scale).mean() < 1.5


def stepped(model: StepModel, name: str, frames: np.ndarray) -> np.ndarray:
    """Real outputs of each step on a backend, [steps, values]."""
    backend, contract = load_backend(model, name), model.contract
    backend.write_state(contract.initial_state())
    found = []
    for frame in frames:
        backend.put(contract.input.quantize(frame).tobytes())
        backend.invoke()
        backend.advance()
        stored = np.frombuffer(backend.get(), contract.output.dtype)
        found.append(contract.output.dequantize(stored))
    return np.stack(found)
