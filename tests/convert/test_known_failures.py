"""What a runtime would compute wrongly without a word is refused there, with the reason."""

import subprocess
import sys

import pytest

from convert.tflite_editor import TfliteEditor
from device_runner.backends.known_failures import known_failure
from device_runner.model.flatbuffer import read_graph
from device_runner.model.step_file import load_step_model
from device_runner.model.tflite_schema import OPERATOR_NAMES


def lowered(flatbuffer, version):
    """Give the model's FULLY_CONNECTED operators another version."""
    editor = TfliteEditor(flatbuffer)
    for code in editor.tree.operatorCodes:
        if OPERATOR_NAMES[code.builtinCode] == "FULLY_CONNECTED":
            code.version = version
    return editor.flatbuffer()


@pytest.mark.parametrize(("version", "wrong"), [(9, True), (12, False)])
def test_scales_a_channel_under_an_old_version_are_refused_on_an_old_runtime(
    step_models, version, wrong
):
    model = load_step_model(step_models("lstm", "dynamic:per-channel"))
    graph = read_graph(lowered(model.flatbuffer, version))
    failure = known_failure(graph, "tflite-runtime")
    assert ("a scale a channel" in failure) if wrong else (failure is None)
    assert known_failure(graph, "litert") is None


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_what_we_export_has_no_known_failure(step_models, scheme):
    graph = load_step_model(step_models("lstm", scheme)).graph
    assert known_failure(graph, "tflite-runtime") is None
    assert known_failure(graph, "litert") is None


def test_the_refusal_is_one_line_and_an_exit_code(step_models, monkeypatch, tmp_path):
    """The whole way, in a process of its own as two runtimes do not share one."""
    path = step_models("lstm", "float32")
    code = (
        "import device_runner.backends.interpreter as i;"
        "i.known_failure = lambda graph, name: 'wrong there';"
        "from device_runner.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "verify", "--backend", "litert", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 3
    assert "not run on litert" in process.stdout + process.stderr
    assert "wrong there" in process.stdout + process.stderr
    assert "Traceback" not in process.stderr
