"""The NumPy reference: what LiteRT computes, for every cell and scheme, and no traceback."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.schemes import SCHEMES
from device_runner.backends import load_backend
from device_runner.errors import BadModelError
from device_runner.model.flatbuffer import read_graph
from device_runner.model.graph_checks import check_contract
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.verify import verify
from tests.conftest import EACH_VARIANT
from tests.convert.test_schemes import is_known_in_16_bits
from tests.models.random_networks import random_network, random_task
from tests.operator_graphs import GRAPHS, operator_model, outputs, random_frames

# Of the output's range; the rounding of float32 through a sequence.
FLOAT_TOLERANCE = 1e-5


def largest_error(path, frames) -> float:
    """Of the reference against LiteRT through a sequence, as a share of the range."""
    expected = Stream(path, "litert").run(frames)
    found = Stream(path, "reference").run(frames)
    return float(np.abs(found - expected).max() / np.ptp(expected))


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_float32_is_what_litert_computes(step_models, frames, cell, options):
    assert largest_error(step_models(cell, "float32", **options), frames) < FLOAT_TOLERANCE


def test_low_rank_and_two_layers(tmp_path):
    from convert.export import export

    network, architecture = random_network("gru", {"rank": 3})
    # Small weights: a network of large ones is chaotic, and any rounding grows.
    network.set_weights([0.3 * weight for weight in network.get_weights()])
    task = random_task()
    path = tmp_path / "low-rank.tflite"
    export(network, architecture, task, "float32", path)
    assert largest_error(path, np.concatenate(task.test.sequences)) < FLOAT_TOLERANCE


def test_network_without_classes(tmp_path):
    from convert.export import export

    task = random_task()

    def with_values(data):
        return replace(data, values=[sequence[:, :3] for sequence in data.sequences])

    task = replace(task, validation=with_values(task.validation), test=with_values(task.test))
    network, architecture = random_network("lstm")
    export(network, architecture, task, "float32", tmp_path / "values.tflite")
    verification = verify(Stream(tmp_path / "values.tflite", "reference"))
    assert verification.failure is None
    assert verification.max_abs < 1e-5


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "float32"])
@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_other_schemes_keep_the_contracts_tolerance(step_models, cell, options, scheme):
    if scheme == "int16x8" and not is_known_in_16_bits(step_models(cell, "float32", **options)):
        pytest.skip("has no 16-bit step")
    verification = verify(Stream(step_models(cell, scheme, **options), "reference"))
    assert verification.failure is None
    assert verification.rms > 1e-6, "a quantized model differs from the float one"


@pytest.mark.parametrize("scheme", ["int8:per-channel", "dynamic:per-channel"])
def test_a_scale_per_channel(step_models, scheme):
    assert verify(Stream(step_models("gru", scheme), "reference")).failure is None


def test_states_are_rounded_to_their_stored_dtype(int8_file, frames):
    """One step from the same stored state: at most a few levels from LiteRT's integers."""
    reference, litert = (Stream(int8_file, name) for name in ("reference", "litert"))
    litert.run(frames)
    reference.load_state(litert.save_state())
    for stream in (reference, litert):
        stream.step(frames[0])
    (found,), (expected,) = (
        [np.frombuffer(state, np.int8).astype(int) for state in stream.state_bytes().values()]
        for stream in (reference, litert)
    )
    assert np.abs(found - expected).max() <= 3
    assert np.ptp(expected) > 20


@pytest.mark.parametrize("name", GRAPHS)
def test_operators_are_litert_s(tmp_path, name):
    model = operator_model(name, tmp_path)
    assert name.partition(" ")[0] in {operator.name for operator in model.graph.operators}
    frames = random_frames()
    found = outputs(load_backend(model, "reference"), frames)
    expected = outputs(load_backend(model, "litert"), frames)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def refused(workshop, edit) -> str:
    """Return the message with which the reference refuses the model after an edit of its graph."""
    path = workshop.write(workshop.with_graph(edit))
    with pytest.raises(BadModelError) as caught:
        Stream(path, "reference")
    assert caught.value.message.startswith(str(path))
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


def set_code(tree, name: str, **fields) -> None:
    """Change the operator code of the graph's first operator of this name."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    (code,) = (c for c in tree.operatorCodes if c.builtinCode == getattr(BuiltinOperator, name))
    for field, value in fields.items():
        setattr(code, field, value)


def first_operator(tree, name: str):
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    code = getattr(BuiltinOperator, name)
    graph = tree.subgraphs[0]
    return next(o for o in graph.operators if tree.operatorCodes[o.opcodeIndex].builtinCode == code)


def edit_tanh_to_atan2(tree):
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    set_code(tree, "TANH", builtinCode=BuiltinOperator.ATAN2, deprecatedBuiltinCode=127)


def edit_version(tree):
    set_code(tree, "FULLY_CONNECTED", version=99)


def edit_activation(tree):
    first_operator(tree, "ADD").builtinOptions.fusedActivationFunction = 5


def edit_weights_format(tree):
    first_operator(tree, "FULLY_CONNECTED").builtinOptions.weightsFormat = 1


def edit_split(tree):
    first_operator(tree, "SPLIT").builtinOptions.numSplits = 2


def set_input(operator, position: int, index: int) -> None:
    operator.inputs = [*operator.inputs]
    operator.inputs[position] = index


def edit_bias(tree):
    operator = first_operator(tree, "FULLY_CONNECTED")
    set_input(operator, 2, operator.inputs[1])


def edit_missing_input(tree):
    set_input(first_operator(tree, "MUL"), 0, -1)


def edit_order(tree):
    tree.subgraphs[0].operators.reverse()


def edit_scales(tree):
    weights = first_operator(tree, "FULLY_CONNECTED").inputs[1]
    tree.subgraphs[0].tensors[weights].quantization.scale = np.array([np.nan], np.float32)


def edit_shape(tree):
    product = first_operator(tree, "MUL").outputs[0]
    tree.subgraphs[0].tensors[product].shape = np.array([1, 99], np.int32)


def edit_size(tree):
    product = first_operator(tree, "MUL").outputs[0]
    tree.subgraphs[0].tensors[product].shape = np.array([2**30, 2**30], np.int32)


def edit_options(tree):
    """An ADD with the options of a SPLIT."""
    donor, operator = first_operator(tree, "SPLIT"), first_operator(tree, "ADD")
    operator.builtinOptions, operator.builtinOptionsType = (
        donor.builtinOptions,
        donor.builtinOptionsType,
    )


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (edit_tanh_to_atan2, "operator ATAN2 is not known here"),
        (edit_version, "operator FULLY_CONNECTED has version 99"),
        (edit_activation, "its activation 5 is not known"),
        (edit_weights_format, "its weights are shuffled"),
        (edit_split, "operator SPLIT cannot be computed"),
        (edit_bias, "its bias has another length"),
        (edit_missing_input, "operator MUL lacks an input"),
        (edit_order, "which nothing computes before"),
        (edit_scales, "scales or zero points do not fit"),
        (edit_shape, "operator MUL gives the shapes [(1, 16)], the model says [(1, 99)]"),
        (edit_size, "a step model's 1,073,741,824 at most"),
        (edit_options, "its options are another operator's"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_known_is_refused_with_its_name(workshop, edit, part):
    assert part in refused(workshop, edit)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_flipped_bytes_give_a_result_or_one_error(step_models, scheme, data):
    """Bytes of a real model changed at random; its contract still says what it said."""
    model = load_step_model(step_models("gru", scheme))
    damaged = bytearray(model.flatbuffer)
    positions = st.integers(0, len(damaged) - 1)
    changes = st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=6)
    for position, value in data.draw(changes):
        damaged[position] = value
    with contextlib.suppress(BadModelError):
        graph = read_graph(bytes(damaged))
        check_contract(graph, model.contract)
        backend = load_backend(replace(model, flatbuffer=bytes(damaged), graph=graph), "reference")
        for _ in range(3):
            backend.put(bytes(len(backend.memories["step"].inputs["x"])))
            backend.invoke()
            backend.advance()
        assert len(backend.get()) == len(backend.memories["step"].outputs["y"])
