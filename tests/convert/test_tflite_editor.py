"""The editor of flatbuffers: what it changes, and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from convert.tflite_editor import TfliteEditor
from convert.tflite_objects import naming_model
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.model.tflite_schema import OPERATOR_NAMES
from tests.conftest import KEPT_STEP_MODELS


@pytest.fixture(scope="module")
def flatbuffer() -> bytes:
    """A GRU's step graph, in the editor's own layout."""
    model = load_step_model(KEPT_STEP_MODELS / "gru-float32.tflite")
    return TfliteEditor(model.flatbuffer).flatbuffer()


def test_without_a_change_it_writes_the_same_bytes(flatbuffer):
    assert TfliteEditor(flatbuffer).flatbuffer() == flatbuffer


def test_versions_are_raised_and_not_lowered(flatbuffer):
    editor = TfliteEditor(flatbuffer)
    editor.raise_versions({"FULLY_CONNECTED": 4})
    editor.raise_versions({"FULLY_CONNECTED": 2, "TANH": 3})
    versions = dict(read_graph(editor.flatbuffer()).operator_codes)
    assert (versions["FULLY_CONNECTED"], versions["TANH"]) == (4, 3)


def constants(flatbuffer: bytes) -> dict[int, np.ndarray]:
    tensors = [tensor for tensor in read_graph(flatbuffer).tensors if tensor.constant_bytes]
    return {tensor.index: read_constant(flatbuffer, tensor) for tensor in tensors}


@pytest.mark.parametrize("shared", [False, True])
def test_a_constant_is_changed_alone(flatbuffer, shared):
    """Equal constants may share a buffer."""
    biases = [op.inputs[2] for op in read_graph(flatbuffer).operators if len(op.inputs) == 3]
    shapes = {index: values.shape for index, values in constants(flatbuffer).items()}
    first, second = [index for index in biases if shapes.get(index) == (48,)]
    editor = TfliteEditor(flatbuffer)
    if shared:
        tensors = editor.tree.subgraphs[0].tensors
        tensors[second].buffer = tensors[first].buffer
    before = constants(editor.flatbuffer())
    wanted = np.arange(48, dtype=np.float32)
    editor.set_constant(first, wanted)
    after = constants(editor.flatbuffer())
    np.testing.assert_array_equal(after.pop(first), wanted)
    assert shared == np.array_equal(before[first], before[second])
    for index, values in after.items():
        np.testing.assert_array_equal(values, before[index])


def test_a_dropped_operator_takes_its_code_along(flatbuffer):
    graph = read_graph(flatbuffer)
    (place,) = (i for i, op in enumerate(graph.operators) if op.name == "TANH")
    tanh = graph.operators[place]
    editor = TfliteEditor(flatbuffer)
    editor.drop_operators({place}, {tanh.outputs[0]: tanh.inputs[0]})
    names = {name for name, _ in read_graph(editor.flatbuffer()).operator_codes}
    assert {name for name, _ in graph.operator_codes} - names == {"TANH"}


def test_a_copy_has_a_tensor_of_its_own(flatbuffer):
    graph = read_graph(flatbuffer)
    outputs = graph.signature("step").outputs
    editor = TfliteEditor(flatbuffer)
    copy = editor.add_copy(outputs["y"], "y")
    editor.set_outputs({**outputs, "y": copy})
    changed = read_graph(editor.flatbuffer())
    assert changed.signature("step").outputs == {**outputs, "y": copy}
    assert set(changed.outputs) == {copy, outputs["h"]}
    last = changed.operators[-1]
    assert (last.name, last.inputs[0], last.outputs) == ("RESHAPE", outputs["y"], (copy,))
    assert changed.tensors[copy].shape == graph.tensors[outputs["y"]].shape


def test_a_part_shares_the_weights(flatbuffer):
    """The operators that the state needs, as a subgraph of their own."""
    graph = read_graph(flatbuffer)
    step = graph.signature("step")
    kept, needed = [], {step.outputs["h"]}
    for place in reversed(range(len(graph.operators))):
        if needed & set(graph.operators[place].outputs):
            kept.insert(0, place)
            needed |= set(graph.operators[place].inputs)
    editor = TfliteEditor(flatbuffer)
    editor.add_part("state", kept, {}, step.inputs, {"h": step.outputs["h"]})
    data = editor.flatbuffer()
    assert len(data) < 1.5 * len(flatbuffer)
    part = read_graph(data, subgraph=1)
    assert [op.name for op in part.operators] == [graph.operators[place].name for place in kept]
    assert part.signature("state").subgraph == 1
    assert {part.tensors[i].name for i in part.signature("state").inputs.values()} == {
        graph.tensors[i].name for i in step.inputs.values()
    }
    assert read_graph(data).operators == graph.operators


def test_a_signature_replaces_those_there_are(flatbuffer):
    step = read_graph(flatbuffer).signature("step")
    editor = TfliteEditor(flatbuffer)
    editor.set_signature("other", {"a": step.inputs["x"]}, {"b": step.outputs["y"]})
    (signature,) = read_graph(editor.flatbuffer()).signatures
    assert (signature.key, signature.inputs, signature.outputs) == (
        "other", {"a": step.inputs["x"]}, {"b": step.outputs["y"]},
    )  # fmt: skip


@pytest.mark.parametrize("use", [False, True])
def test_a_model_that_names_operators(use):
    codes = [(OPERATOR_NAMES.index("ADD"), 3), (OPERATOR_NAMES.index("GELU"), 2)]
    graph = read_graph(naming_model(codes, use))
    assert graph.operator_codes == (("ADD", 3), ("GELU", 2))
    assert [op.name for op in graph.operators] == (["ADD", "GELU"] if use else [])
