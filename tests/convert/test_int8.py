"""int8 step models: the state contract, read from the flatbuffer by the schema's own code."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras
from ai_edge_litert import schema_py_generated as schema

from calibration.rollout import long_streams
from calibration.state_magnitudes import MARGIN
from convert.errors import ContractViolationError
from convert.evaluation import DRIFT_STEPS
from convert.export import export, float_step
from convert.schemes import int8
from convert.schemes import tensor_ranges as limits
from convert.schemes.spec import SchemeSpec
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.operators import OPERATORS
from device_runner.operators.row import Form
from models.network import Architecture
from tests.conftest import EACH_VARIANT, VARIANTS_WITH_RECURRENT_MATRIX, slow_but_some

# Largest rms error of the outputs over 10,000 steps without reset, as a share of their spread.
DRIFT_BOUND = 0.04


def flatbuffer_of(path):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(load_step_model(path).flatbuffer, 0))


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_every_state_is_quantized_identically_in_and_out(step_models, cell, options):
    model = flatbuffer_of(step_models(cell, "int8", **options))
    tensors = model.subgraphs[0].tensors
    (signature,) = model.signatureDefs
    inputs = {item.name: tensors[item.tensorIndex] for item in signature.inputs}
    outputs = {item.name: tensors[item.tensorIndex] for item in signature.outputs}
    states = set(inputs) & set(outputs)
    assert set(inputs) - states == {b"x"}
    assert set(outputs) - states == {b"y"}
    assert states
    for name in states:
        state_in, state_out = inputs[name], outputs[name]
        assert state_in.type == state_out.type == schema.TensorType.INT8
        assert state_in.quantization.scale.tolist() == state_out.quantization.scale.tolist()
        assert state_in.quantization.zeroPoint.tolist() == [0]
        assert state_out.quantization.zeroPoint.tolist() == [0]


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_no_tensor_is_float_and_operators_have_their_int8_versions(step_models, cell, options):
    model = flatbuffer_of(step_models(cell, "int8", **options))
    types = {tensor.type for tensor in model.subgraphs[0].tensors}
    assert types <= {schema.TensorType.INT8, schema.TensorType.INT32}
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    for code in model.operatorCodes:
        assert code.version == OPERATORS[names[code.builtinCode]].versions[Form.INT8]


def test_bounded_states_use_their_bound(step_models):
    contract = load_step_model(step_models("lstm", "int8")).contract
    scales = {state.name: state.scale for state in contract.states}
    assert scales["h"] == 1 / 128
    assert scales["c"] > 1 / 128


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_ten_thousand_steps_stay_near_the_float_model(step_models, cell, options):
    drift = load_step_model(step_models(cell, "int8", **options)).contract.metrics["drift"]
    assert drift["steps"] == DRIFT_STEPS == 10_000
    assert drift["rms"] < DRIFT_BOUND
    assert drift["rms_last_tenth"] < DRIFT_BOUND
    assert drift["argmax_agreement"] > 0.85


def test_gate_times_unbounded_state_gets_the_states_range(calibrated):
    step, ranges = calibrated("lstm")
    graph = read_graph(step.flatbuffer)
    chosen, fine = (
        limits.tensor_limits(graph, ranges, step.state_bounds, "min-max", bits) for bits in (8, 16)
    )
    c = graph.tensors[graph.signature("step").inputs["c"]]
    gated = [
        graph.tensors[op.outputs[0]].name
        for op in graph.operators
        if op.name == "MUL" and c.index in op.inputs
    ]
    assert len(gated) == 1
    assert chosen[gated[0]] == chosen[c.name]
    assert -chosen[c.name][0] == pytest.approx(ranges.magnitudes["c"])
    assert fine[gated[0]] == fine[c.name]
    assert fine[c.name][1] == pytest.approx(MARGIN * ranges.state_magnitude("c"), rel=1e-3)


@pytest.mark.parametrize(("cell", "options"), slow_but_some(VARIANTS_WITH_RECURRENT_MATRIX))
def test_int8_file_is_under_a_third_of_the_float_file(vowels, tmp_path, cell, options):
    """With units enough that the weights and not the contract make up the file."""
    keras.utils.set_random_seed(1)
    units = 256 if cell == "fast-grnn" else 128
    architecture = Architecture(cell, (units,), 12, 9, options)
    network = architecture.build()
    network.get_layer("normalization").adapt(*vowels.normalization)
    step = float_step(network)
    ranges = step.calibrate(long_streams(vowels.train.sequences, 500, 1))
    sizes = [
        export(network, architecture, vowels, scheme, tmp_path / scheme, step, ranges).file_bytes
        for scheme in ("int8", "float32")
    ]
    assert sizes[0] / sizes[1] < 0.32


def test_without_ranges_it_is_refused(trained):
    with pytest.raises(ContractViolationError, match="calibrate first"):
        int8.apply(float_step(trained("gru")[0]), None, SchemeSpec("int8"))


def test_an_operator_without_known_int8_version_is_refused(trained, vowels, monkeypatch):
    step = float_step(trained("simple-rnn")[0])
    ranges = step.calibrate([np.zeros((3, 12), np.float32)])
    monkeypatch.setitem(OPERATORS, "TANH", replace(OPERATORS["TANH"], versions={}))
    with pytest.raises(ContractViolationError, match="TANH"):
        int8.apply(step, ranges, SchemeSpec("int8"))
