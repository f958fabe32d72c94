"""Delegates by path, with a real one compiled here that takes TANH, and where operators run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends.backend import LoadOptions
from device_runner.errors import MissingRuntimeError, OptionError
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream

NAME = "external-delegate"


@pytest.fixture(scope="session")
def fake_delegate(tmp_path_factory) -> str:
    """Path of the compiled fake_delegate.c."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = Path(__file__).with_name("fake_delegate.c")
    library = tmp_path_factory.mktemp("delegate") / "fake_delegate.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-lm"],
        check=True,
    )
    return str(library)


@pytest.fixture(scope="module")
def lstm(step_models):
    return load_step_model(step_models("lstm", "float32"))


def names(model):
    return [operator.name for operator in model.graph.operators]


def without(sequence, name):
    return tuple(item for item in sequence if item != name)


def test_what_the_delegate_takes_is_computed_by_it_and_told(lstm, fake_delegate, frames):
    stream = Stream(lstm, NAME, LoadOptions(delegate=fake_delegate))
    assert stream.backend.version.startswith("litert")
    placement = stream.backend.placement()
    assert placement.accelerator == "fake_delegate.so"
    assert placement.delegated == ("TANH", "TANH")
    assert placement.on_cpu == without(names(lstm), "TANH")
    np.testing.assert_allclose(
        stream.run(frames), Stream(lstm, "litert").run(frames), rtol=0, atol=1e-5
    )


# Two TFLite runtimes in one process crash, so tflite-runtime gets one of its own.
IN_TFLITE_RUNTIME = """
import json, sys
sys.modules["ai_edge_litert"] = None  # as if it were not installed
from dataclasses import asdict
from device_runner.backends.backend import LoadOptions
from device_runner.stream import Stream
from device_runner.verify import verify
backend, model, delegate = sys.argv[1:]
stream = Stream(model, backend, LoadOptions(delegate=delegate))
print(json.dumps({
    "version": stream.backend.version,
    "failure": verify(stream).failure,
    **asdict(stream.backend.placement()),
}))
"""


@pytest.fixture
def in_tflite_runtime(run_python, pytestconfig, fake_delegate):
    pytest.importorskip("tflite_runtime")

    def run(backend, model):
        done = run_python(
            "-c", IN_TFLITE_RUNTIME, backend, model, fake_delegate, cwd=pytestconfig.rootpath
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_delegate_in_tflite_runtime(lstm, in_tflite_runtime):
    found = in_tflite_runtime(NAME, lstm.path)
    assert found["version"].startswith("tflite-runtime")
    assert found["failure"] is None
    assert found["delegated"] == ["TANH", "TANH"]
    assert tuple(found["on_cpu"]) == without(names(lstm), "TANH")


def test_old_xnnpack_leaves_int8_to_the_cpu(int8_file, in_tflite_runtime):
    found = in_tflite_runtime("tflite-runtime", int8_file)
    assert found["accelerator"] == "XNNPACK"
    assert "FULLY_CONNECTED" in found["on_cpu"]
    operators = names(load_step_model(int8_file))
    assert sorted(found["delegated"] + found["on_cpu"]) == sorted(operators)


def test_the_delegate_does_compute(lstm, fake_delegate):
    """Its nodes stand in the interpreter: without them, TANH would not be gone from the plan."""
    stream = Stream(lstm, NAME, LoadOptions(delegate=fake_delegate))
    nodes = stream.backend.interpreter._get_ops_details()[len(names(lstm)) :]
    tanh = [op for op in lstm.graph.operators if op.name == "TANH"]
    assert [tuple(node["outputs"]) for node in nodes[:2]] == [op.outputs for op in tanh]


@pytest.mark.parametrize("case", ["claims-nothing", "knows-no-int8"])
def test_a_delegate_without_effect_is_told(case, lstm, int8_file, fake_delegate, frames):
    if case == "claims-nothing":
        model, extra = lstm, {"claim": "nothing"}
    else:
        model, extra = load_step_model(int8_file), {}
    stream = Stream(model, NAME, LoadOptions(delegate=fake_delegate, delegate_options=extra))
    placement = stream.backend.placement()
    assert stream.backend.wants_accelerator
    assert placement.delegated == ()
    assert placement.on_cpu == tuple(names(model))
    np.testing.assert_array_equal(stream.run(frames), Stream(model, "litert").run(frames))


def test_bench_marks_a_silent_fall_back(int8_file, fake_delegate, invoke, error_line):
    result = invoke(
        "bench", "--steps", 100, "--rounds", 1, "--warmup", 0, "--json", int8_file,
        "--backend", NAME, "--delegate", fake_delegate, "--delegate-option", "claim=nothing",
    )  # fmt: skip
    assert result.exit_code == 5
    assert "fell back to the CPU" in error_line(result)
    assert json.loads(result.stdout)["valid"] is False


def test_a_delegate_that_does_not_start_gives_its_own_reason(lstm, fake_delegate):
    options = LoadOptions(delegate=fake_delegate, delegate_options={"fail": "no silicon\nfound"})
    with pytest.raises(MissingRuntimeError) as caught:
        Stream(lstm, NAME, options)
    assert "no silicon found" in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_bad_libraries_are_refused_in_one_line(lstm, tmp_path, int8_file):
    text = tmp_path / "text.so"
    text.write_text("no library")
    for delegate, part in (
        (str(tmp_path / "absent.so"), "there is no file"),
        ("libabsent-delegate.so", "does not load"),
        (str(text), "does not load"),
        ("libm.so.6", "is not a TFLite delegate"),
    ):
        with pytest.raises(MissingRuntimeError) as caught:
            Stream(lstm, NAME, LoadOptions(delegate=delegate))
        assert part in caught.value.message
        assert len(caught.value.message.splitlines()) == 1


def test_without_a_delegate_it_is_a_mistake_of_usage(lstm, invoke, error_line):
    with pytest.raises(OptionError):
        Stream(lstm, NAME)
    result = invoke("verify", "--backend", NAME, lstm.path)
    assert result.exit_code == 2
    assert "--delegate PATH" in error_line(result)


def test_delegate_options_are_key_and_value(lstm, invoke):
    for option in ("novalue", "=x"):
        result = invoke("verify", "--delegate-option", option, lstm.path)
        assert result.exit_code == 2
        assert "KEY=VALUE" in result.stderr


def test_xnnpack_takes_every_operator(lstm):
    placement = Stream(lstm, "litert").backend.placement()
    assert placement.accelerator == "XNNPACK"
    assert placement.delegated == tuple(names(lstm))
    assert placement.on_cpu == ()
