"""Compiled models get their contract back.

The compiler is in no package: files stripped of what it drops stand in for its own.
"""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from convert.errors import ContractViolationError
from convert.exporters.edgetpu import restore_contract
from convert.tflite_editor import TfliteEditor
from convert.tflite_objects import index_array, schema_module
from device_runner.backends.edgetpu import COMPILED_OPERATOR
from device_runner.errors import BadModelError, MissingRuntimeError
from device_runner.model.step_file import load_step_model
from device_runner.model.tflite_schema import CUSTOM_OPERATOR
from device_runner.stream import Stream
from device_runner.verify import verify
from pipeline.cli import main


@pytest.fixture(scope="module")
def original(step_models):
    return load_step_model(step_models("lstm", "int8"))


@pytest.fixture
def stripped(original, tmp_path):
    """Writes the original without its contract, after ``edit`` changed the object tree."""

    def write(edit=lambda model: None):
        editor = TfliteEditor(original.flatbuffer)
        edit(editor.tree)
        path = tmp_path / "lstm_edgetpu.tflite"
        path.write_bytes(editor.flatbuffer())
        return path

    return write


def drop_signature(model) -> None:
    model.signatureDefs = []


def drop_signature_and_reorder(model) -> None:
    drop_signature(model)
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = graph.inputs[::-1], graph.outputs[::-1]


@pytest.mark.parametrize("edit", [lambda model: None, drop_signature, drop_signature_and_reorder])
def test_it_steps_as_the_original(edit, original, stripped, tmp_path):
    restored = restore_contract(stripped(edit), original, tmp_path / "restored.tflite")
    assert restored.labels == original.labels
    assert restored.contract.states == original.contract.states
    assert restored.contract.versions["compiled from"] == original.contract.model_sha256
    assert verify(Stream(restored, "litert")).failure is None
    frames = original.golden.x
    expected = Stream(original, "litert").run(frames)
    assert (Stream(restored, "litert").run(frames) == expected).all()


def test_restoring_twice_is_restoring_once(original, stripped):
    path = stripped(drop_signature)
    restore_contract(path, original, path)
    once = path.read_bytes()
    restore_contract(path, original, path)
    assert path.read_bytes() == once


def test_another_models_file_is_refused(original, stripped, step_models):
    other = load_step_model(step_models("gru", "int8"))
    path = stripped(drop_signature)
    before = path.read_bytes()
    with pytest.raises((BadModelError, ContractViolationError), match=r"lstm_edgetpu\.tflite: "):
        restore_contract(path, other, path)
    assert path.read_bytes() == before


def test_a_changed_scale_is_refused(original, stripped):
    def rescale(model) -> None:
        graph = model.subgraphs[0]
        found = graph.tensors[graph.outputs[0]].quantization
        found.scale = found.scale * 2

    path = stripped(rescale)
    with pytest.raises(
        ContractViolationError, match="the compiler changed the step's inputs or outputs"
    ):
        restore_contract(path, original, path)


def test_the_command(original, stripped, tmp_path):
    path = stripped(drop_signature)
    result = CliRunner().invoke(main, ["restore-contract", str(path), str(original.path)])
    assert result.exit_code == 0, result.output
    assert "FULLY_CONNECTED" in result.stdout
    assert load_step_model(path).contract.cell == "lstm"
    for bad in (tmp_path / "missing.tflite", tmp_path / "text.tflite"):
        if bad.name.startswith("text"):
            bad.write_text("no model")
        failed = CliRunner().invoke(main, ["restore-contract", str(bad), str(original.path)])
        assert failed.exit_code == BadModelError.exit_code
        assert len(failed.stderr.strip().splitlines()) == 1


def compile_whole(model) -> None:
    """Lay the graph out as published compiled models are: one custom operator takes the graph's
    inputs and gives its outputs, its options hold the program, and no other tensor is left."""
    schema = schema_module()
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = CUSTOM_OPERATOR
    code.customCode, code.version = b"edgetpu-custom-op", 1
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = graph.inputs, graph.outputs
    operator.customOptions = np.frombuffer(b"DWN1 program", np.uint8)
    kept = [int(index) for index in (*graph.inputs, *graph.outputs)]
    model.operatorCodes, graph.operators = [code], [operator]
    graph.tensors = [graph.tensors[index] for index in kept]
    places = {old: new for new, old in enumerate(kept)}
    for side in ("inputs", "outputs"):
        setattr(operator, side, index_array(places[int(i)] for i in getattr(graph, side)))
        setattr(graph, side, getattr(operator, side))
    for tensor in graph.tensors:
        tensor.buffer = 0
    model.buffers = model.buffers[:1]
    drop_signature(model)


def test_a_graph_that_the_accelerator_takes_whole(original, stripped, tmp_path):
    """The documented operator of the compiler, as in published models; none could be run here."""
    restored = restore_contract(stripped(compile_whole), original, tmp_path / "whole.tflite")
    assert [node.name for node in restored.graph.operators] == [COMPILED_OPERATOR]
    assert restored.contract.states == original.contract.states
    shown = CliRunner().invoke(main, ["inspect", str(restored.path)])
    assert shown.exit_code == 0, shown.output
    assert "edgetpu-custom-op" in shown.output
    with pytest.raises((BadModelError, MissingRuntimeError)):
        Stream(restored, "litert").run(original.golden.x)
