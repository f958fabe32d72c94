"""ONNX of the step model: what LiteRT computes, under documented names, or one clear refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from convert.errors import NotExportableError
from convert.exporters.onnx import export_onnx, to_onnx
from convert.rows import with_rows
from device_runner.backends import load_backend
from device_runner.errors import VerificationError
from device_runner.model.contract import Tolerance
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from pipeline.cli import main
from tests.conftest import EACH_VARIANT
from tests.operator_graphs import GRAPHS, operator_model, outputs, random_frames
from tests.windowed_steps import windowed, windowed_model


def copied(path, folder):
    """Copy a model file into an otherwise empty folder."""
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize(("cell", "options"), EACH_VARIANT)
def test_every_cell_is_the_float_model_in_onnx_runtime(step_models, tmp_path, cell, options):
    model = load_step_model(step_models(cell, "float32", **options))
    path = tmp_path / "cell.onnx"
    verification = export_onnx(model, path)
    assert verification.backend == "onnxruntime"
    assert verification.max_abs < 1e-4
    assert verification.steps == len(model.golden.x) > 20
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    states = [state.name for state in model.contract.states]
    assert [tensor.name for tensor in made.graph.input] == ["x", *states]
    assert {tensor.name for tensor in made.graph.output} == {"y", *(f"{s}_out" for s in states)}
    assert {p.key: p.value for p in made.metadata_props} == {"model_sha256": model.sha256}


def test_rows_of_one_call_are_stepped(step_models, tmp_path):
    rows = with_rows(load_step_model(step_models("lstm", "float32")), 5)
    verification = export_onnx(rows, tmp_path / "rows.onnx")
    assert verification.failure is None
    assert verification.max_abs < 1e-4


def test_a_window_is_told_in_the_metadata_and_stepped(tmp_path):
    model = windowed_model(windowed(7, 3), tmp_path)
    path = model.path.with_suffix(".onnx")
    assert export_onnx(model, path).failure is None
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    del told["model_sha256"]
    assert told == {"window_steps": "7", "window_hop": "3", "window_lanes": "3"}
    wanted = Stream(model, "litert").run(model.golden.x)
    np.testing.assert_allclose(Stream(model, "onnxruntime").run(model.golden.x), wanted, atol=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_operators_are_litert_s(tmp_path, name):
    model = operator_model(name, tmp_path)
    model.path.with_suffix(".onnx").write_bytes(to_onnx(model))
    frames = random_frames()
    found = outputs(load_backend(model, "onnxruntime"), frames)
    expected = outputs(load_backend(model, "litert"), frames)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_models_are_equal_files(float32_model):
    assert to_onnx(float32_model) == to_onnx(float32_model)


@pytest.fixture(scope="module")
def float32_model(step_models):
    return load_step_model(step_models("gru", "float32"))


@pytest.mark.parametrize("scheme", ["int8", "float16", "dynamic", "int16x8"])
def test_other_schemes_are_refused(step_models, scheme):
    with pytest.raises(NotExportableError, match=f"scheme {scheme}; .* export .* as float32"):
        to_onnx(load_step_model(step_models("gru", scheme)))


def test_ambiguous_names_are_refused(float32_model):
    graph = float32_model.graph
    signature = graph.signature("step")
    (state,) = set(signature.inputs) - {"x"}
    # An output called as ONNX would call the state that comes out.
    outputs = {f"{state}_out": signature.outputs["y"], state: signature.outputs[state]}
    ambiguous = replace(signature, outputs=outputs)
    with pytest.raises(NotExportableError, match="ambiguous; rename the states"):
        to_onnx(replace(float32_model, graph=replace(graph, signatures=(ambiguous,))))


def test_what_computes_something_else_is_not_written(float32_model, tmp_path):
    contract = replace(float32_model.contract, tolerance=Tolerance(1e-12, 1e-12, 1.0))
    path = tmp_path / "gru.onnx"
    with pytest.raises(VerificationError, match="on onnxruntime"):
        export_onnx(replace(float32_model, contract=contract), path)
    assert list(tmp_path.iterdir()) == []


def test_command_writes_beside_the_model(step_models, tmp_path):
    file = copied(step_models("lstm", "float32"), tmp_path)
    result = CliRunner().invoke(main, ["export-onnx", str(file)])
    assert result.exit_code == 0, result.output
    assert str(file.with_suffix(".onnx")) in result.output
    assert "rms error" in result.output
    again = CliRunner().invoke(main, ["verify", "--backend", "onnxruntime", str(file)])
    assert again.exit_code == 0, again.output
    assert again.output.startswith("ok")


def test_command_refuses_in_one_line(step_models, tmp_path):
    file = copied(step_models("gru", "int8"), tmp_path)
    result = CliRunner().invoke(main, ["export-onnx", str(file)])
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert not file.with_suffix(".onnx").exists()
