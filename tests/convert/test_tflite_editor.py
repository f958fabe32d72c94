"""The editor of flatbuffers: what it changes, and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from convert.tflite_editor import TfliteEditor, naming_model
from device_runner.model.constants import read_constant
from device_runner.model.flatbuffer import read_graph
from device_runner.model.tflite_schema import OPERATOR_NAMES
from tests.operator_graphs import operator_flatbuffer


@pytest.fixture(scope="module")
def flatbuffer() -> bytes:
    """A graph with constants, in the editor's own layout."""
    return TfliteEditor(operator_flatbuffer("FULLY_CONNECTED")).flatbuffer()


def test_without_a_change_it_writes_the_same_bytes(flatbuffer):
    assert TfliteEditor(flatbuffer).flatbuffer() == flatbuffer


def test_versions_are_raised_and_not_lowered(flatbuffer):
    editor = TfliteEditor(flatbuffer)
    editor.raise_versions({"FULLY_CONNECTED": 4})
    editor.raise_versions({"FULLY_CONNECTED": 2, "TANH": 3})
    versions = dict(read_graph(editor.flatbuffer()).operator_codes)
    assert (versions["FULLY_CONNECTED"], versions["TANH"]) == (4, 3)


def matrices(flatbuffer: bytes) -> dict[int, np.ndarray]:
    graph = read_graph(flatbuffer)
    products = [op for op in graph.operators if op.name == "FULLY_CONNECTED"]
    indices = {op.inputs[1] for op in products}
    return {index: read_constant(flatbuffer, graph.tensors[index]) for index in indices}


@pytest.mark.parametrize("shared", [False, True])
def test_a_constant_is_changed_alone(flatbuffer, shared):
    """Equal constants may share a buffer."""
    first, second = [
        index for index, values in matrices(flatbuffer).items() if values.shape[1] == 6
    ]
    editor = TfliteEditor(flatbuffer)
    tensors = editor.tree.subgraphs[0].tensors
    if shared:
        tensors[second].buffer = tensors[first].buffer
    before = matrices(editor.flatbuffer())
    wanted = np.arange(48, dtype=np.float32).reshape(8, 6)
    editor.set_constant(first, wanted)
    after = matrices(editor.flatbuffer())
    np.testing.assert_array_equal(after.pop(first), wanted)
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
