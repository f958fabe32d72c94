"""Targets: the tables agree with each other and with the runtimes, and the check of a graph."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert.errors import UnknownRuntimeError, UnknownTargetError
from convert.schemes import SCHEMES, parse_scheme
from convert.targets import DATA, RUNTIMES_FILE, TARGETS, VERSIONS_FILE, target_names
from convert.targets.check import check_file
from convert.targets.documentation import tables
from convert.targets.operator_rules import OPERATOR_RULES
from convert.targets.profile import get_profile
from convert.targets.report import AFTER, MAPS, REFUSED, format_report
from convert.targets.runtimes import (
    get_runtime,
    measured_runtimes,
    oldest_runtimes,
    release_of,
    version_key,
)
from convert.tflite_editor import TfliteEditor
from convert.tflite_objects import naming_model
from device_runner.measure.bench_files import bench_files
from device_runner.measure.latency import BenchSettings
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.model.tflite_schema import OPERATOR_NAMES
from models.cells import CELLS
from pipeline.cli import main
from tests.conftest import slow_but_some_cells
from tests.operator_graphs import operator_model

# The targets that take a scheme's graph of a GRU, whether it is what they are best at or not.
FITS = {
    "float32": {"cpu", "gpu", "micro"},
    "float16": {"cpu", "gpu"},
    "dynamic": {"cpu", "gpu"},
    "int8": {"cpu", "gpu", "edgetpu", "micro"},
    "int16x8": {"cpu", "micro"},
}


def test_every_profile_is_listed():
    listed = {entry.profile for entry in TARGETS.values()}
    assert listed == {path.name for path in DATA.glob("*.json")} - {RUNTIMES_FILE, VERSIONS_FILE}
    assert all(target in target_names() for target in TARGETS)


def test_every_rule_is_used():
    profiles = [get_profile(target) for target in TARGETS]
    used = {
        rule for one in profiles for entry in (one.operators or {}).values() for rule in entry.rules
    }
    assert used | {rule for one in profiles for rule in one.all_rules} == set(OPERATOR_RULES)


def test_the_two_tables_agree():
    """TensorFlow's table of releases says of 2.14 what tflite-runtime 2.14.0 says when asked."""
    runtime = get_runtime("tflite-runtime==2.14.0")
    for name in OPERATOR_NAMES:
        for version in range(1, 16):
            release = release_of(name, version)
            told = release is not None and version_key(release) <= (2, 14, 0)
            has = runtime.refusal(name, version) is None
            # It has versions below the first that was released (BROADCAST_TO 1).
            if release is not None or has:
                assert has == told or (version == 1 and not told), (name, version)


@pytest.mark.parametrize("distribution", ["ai-edge-litert", "tflite-runtime"])
def test_the_table_is_what_the_runtime_says(distribution, tmp_path):
    """Each operator's highest version loads, the next does not; in a process of its own."""
    pytest.importorskip(distribution.replace("-", "_"))
    runtime = get_runtime(distribution)
    (tmp_path / "cases.json").write_text(
        json.dumps(
            [
                [naming_model([(number, version)]).hex(), runtime.refusal(name, version) is None]
                for number, name in enumerate(OPERATOR_NAMES)
                if name != "CUSTOM"
                for version in (2, 3, 4, 5, 7, 12)
            ]
        )
    )
    script = (
        "import json, sys, importlib\n"
        "module = importlib.import_module(sys.argv[1])\n"
        "for data, expected in json.load(open(sys.argv[2])):\n"
        "    try: module.Interpreter(model_content=bytes.fromhex(data)); loads = True\n"
        "    except (ValueError, RuntimeError): loads = False\n"
        "    assert loads == expected, data\n"
    )
    module = distribution.replace("-", "_") + ".interpreter"
    done = subprocess.run(
        [sys.executable, "-c", script, module, str(tmp_path / "cases.json")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]


def test_oldest_runtimes():
    found = oldest_runtimes([("FULLY_CONNECTED", 12), ("TANH", 1)])
    assert found["tensorflow_lite"] == "2.17.0"
    assert found["because"] == ["FULLY_CONNECTED version 12"]
    assert found["tflite-runtime"] is None
    assert found["ai-edge-litert"] == measured_runtimes()[0].version
    assert oldest_runtimes([("ADD", 99)])["tensorflow_lite"] is None


@pytest.mark.parametrize(
    ("text", "operator", "version", "part"),
    [
        ("tflite-runtime==2.14.0", "FULLY_CONNECTED", 12, "up to version 10"),
        ("tflite-runtime==2.10.0", "FULLY_CONNECTED", 10, "2.11.0"),
        ("tensorflow==2.16.1", "FULLY_CONNECTED", 12, "2.17.0"),
        ("ai-edge-litert==2.1.3", "CONCATENATION", 6, "up to version 4"),
        ("tflite-runtime==2.14.0", "STABLEHLO_CASE", 1, "has no"),
        ("tensorflow==2.16.1", "ADD", 99, "not known"),
    ],
)
def test_a_runtime_lacks_a_version(text, operator, version, part):
    runtime = get_runtime(text)
    assert part in runtime.refusal(operator, version)
    assert runtime.refusal("ADD", 1) is None


@pytest.mark.parametrize("text", ["onnx==1", "ai-edge-litert==0.9", "tflite-runtime==new"])
def test_an_unknown_runtime_is_refused(text):
    with pytest.raises(UnknownRuntimeError):
        get_runtime(text)


def test_an_unknown_target_is_refused(step_models):
    with pytest.raises(UnknownTargetError, match="edgetpu"):
        check_file(step_models("gru", "int8"), "edge-tpu")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("target", TARGETS)
def test_each_scheme_fits_where_it_should(step_models, target, scheme):
    """Where its profile names it, and, of those known, where docs/targets.md says."""
    report = check_file(step_models("gru", scheme), target)
    named = {parse_scheme(name).base for name in get_profile(target).schemes}
    assert report.fits or scheme not in named
    if scheme in FITS:
        assert report.fits == (target in FITS[scheme])
        assert bool(report.notes) == (target == "gpu" and scheme == "int8")
    assert report.operators
    assert json.loads(json.dumps(report.to_json()))["fits"] == report.fits
    assert format_report(report).count("\n") >= len(report.operators)


@pytest.mark.parametrize("cell", slow_but_some_cells(CELLS))
def test_every_cell_fits_a_gpu(step_models, cell):
    assert check_file(step_models(cell, "float32"), "gpu").fits


def test_what_the_first_unmapped_operator_costs(step_models, tmp_path):
    """An operator in the middle that the Edge TPU lacks: what comes after runs on the CPU."""
    from ai_edge_litert import schema_py_generated as schema

    data = _edited(step_models("lstm", "int8"), _rename_first(schema, "TANH", "EXP"))
    path = tmp_path / "edited.tflite"
    path.write_bytes(data)
    report = check_file(path, "edgetpu")
    first = report.first_refused
    assert (first.index, first.name) == (8, "EXP")
    statuses = [one.status for one in report.operators]
    assert statuses[:8] == [MAPS] * 8
    assert statuses[8:] == [REFUSED, AFTER, AFTER, REFUSED, AFTER, AFTER]
    # The gates' products are 64x12 and 64x16, the head's 9x16.
    assert "6 of 14 operators, 7% of the multiplications (144 of 1,936 a step)" in report.cost
    assert "first that does not: 8, EXP" in format_report(report)
    assert "operator 8, EXP: edgetpu has no EXP" in report.error().message


def test_exit_codes_and_json(step_models, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["check", *map(str, arguments)])

    good = run(step_models("lstm", "int8"), "--target", "edgetpu", "--json")
    assert good.exit_code == 0, good.output
    facts = json.loads(good.stdout)
    assert facts["fits"]
    assert facts["oldest_runtimes"]["tflite-runtime"] == "2.14.0"
    bad = run(step_models("lstm", "float32"), "--target", "edgetpu")
    assert bad.exit_code == 5
    assert "DOES NOT MAP" in bad.stdout
    assert len(bad.stderr.splitlines()) == 1
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(step_models("lstm", "int8").read_bytes()[:300])
    assert run(damaged, "--target", "cpu").exit_code == 3
    assert run(tmp_path / "missing.tflite", "--target", "cpu").exit_code == 3
    old = run(
        step_models("gru", "dynamic"), "--target", "cpu", "--runtime", "tflite-runtime==2.2.0"
    )
    assert old.exit_code == 5
    assert "TensorFlow Lite 2.3.0" in old.stderr


def test_a_file_of_another_maker(tmp_path):
    """No contract, no signature called step, control flow: checked all the same."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def loop(x):
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [0, x])[1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([loop.get_concrete_function()])
    path = tmp_path / "loop.tflite"
    path.write_bytes(converter.convert())
    assert read_graph(path.read_bytes()).subgraph_count > 1
    cpu = check_file(path, "cpu")
    assert any("no signature 'step'" in note for note in cpu.notes)
    # The interpreters resize a batch that is left open.
    assert {one.status for one in cpu.operators} == {MAPS}
    assert cpu.fits
    assert bench_files(path, "litert", BenchSettings(100, 1, 0.0))[0]["valid"]
    for target in ("gpu", "edgetpu"):
        report = check_file(path, target)
        assert not report.fits
        assert any("subgraphs" in problem for problem in report.problems)
        assert any("with a fixed one" in problem for problem in report.problems)
    assert check_file(path, "micro").fits
    if importlib.util.find_spec("tflite_micro"):
        assert bench_files(path, "micro", BenchSettings(100, 1, 0.0))[0]["valid"]


@pytest.mark.parametrize(
    ("graph", "target", "reason"),
    [
        ("STRIDED_SLICE of one", "gpu", "takes an axis away"),
        ("STRIDED_SLICE backwards", "gpu", "goes backwards"),
        ("STRIDED_SLICE", "edgetpu", "strides other than 1"),
        ("FULLY_CONNECTED of three axes", "edgetpu", "more than one axis"),
        ("EXP", "edgetpu", "edgetpu has no EXP"),
        ("ADD", "edgetpu", "is float32"),
    ],
)
def test_rules(graph, target, reason, tmp_path):
    path = tmp_path / "operator.tflite"
    path.write_bytes(operator_model(graph, tmp_path).flatbuffer)
    report = check_file(path, target)
    assert any(reason in text for one in report.operators for text in one.reasons)


def test_two_outputs_in_one_tensor_are_no_gpu_graph(step_models, tmp_path):
    def share(model) -> None:
        graph = model.subgraphs[0]
        graph.outputs = [graph.outputs[0]] * len(graph.outputs)

    path = tmp_path / "shared.tflite"
    path.write_bytes(_edited(step_models("gru", "float32"), share))
    assert any("two outputs are one tensor" in text for text in check_file(path, "gpu").problems)
    assert not check_file(path, "gpu").fits


def _edited(path, edit) -> bytes:
    editor = TfliteEditor(load_step_model(path).flatbuffer)
    edit(editor.tree)
    return editor.flatbuffer()


def _rename_first(schema, old: str, new: str):
    def edit(model) -> None:
        for code in model.operatorCodes:
            if code.builtinCode == getattr(schema.BuiltinOperator, old):
                code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, new)
                code.version = 1

    return edit


def test_the_documentation_is_made_from_the_profiles():
    text = (Path(__file__).parents[2] / "docs" / "targets.md").read_text()
    made = text.partition("<!-- begin: convert.targets.documentation -->\n")[2]
    assert made.partition("\n<!-- end -->")[0] == tables(), (
        "write it again: python -m convert.targets.documentation"
    )


def test_advice_is_for_files_that_do_not_fit(step_models, tmp_path):
    fits = check_file(step_models("gru", "int8"), "edgetpu")
    assert fits.fits
    assert not fits.advice
    assert (
        "schemes made for it: int8" in check_file(step_models("gru", "float32"), "edgetpu").advice
    )
    # In int8 already, so that no scheme helps.
    from ai_edge_litert import schema_py_generated as schema

    path = tmp_path / "edited.tflite"
    path.write_bytes(_edited(step_models("lstm", "int8"), _rename_first(schema, "TANH", "EXP")))
    advice = check_file(path, "edgetpu").advice
    assert "leave out what is named" in advice
    assert "scheme" not in advice


@pytest.mark.parametrize(
    ("runtime", "stand_in"),
    [
        ("tflite-runtime==9.9", "TensorFlow Lite 2."),
        ("ai-edge-litert==9.9", "ai-edge-litert 2."),
        ("tflite-runtime==2.14.0", None),
        ("tensorflow==2.9.0", None),
    ],
)
def test_a_runtime_that_is_newer_than_the_tables_is_said_to_be(step_models, runtime, stand_in):
    notes = check_file(step_models("gru", "int8"), "cpu", runtime).notes
    assert [note for note in notes if "is not known here" in note] == [
        note for note in notes if stand_in and stand_in in note
    ]
    assert bool(stand_in) == any("held against" in note for note in notes)
