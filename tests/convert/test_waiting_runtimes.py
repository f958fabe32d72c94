"""Runtimes that are started before there is a file to verify."""

from __future__ import annotations

import subprocess
import sys

import pytest

from convert.verify import objections, passed, verify_on_runtimes, waiting_runtimes
from device_runner.model.step_file import load_step_model, pack
from device_runner.model.tflite_schema import OPERATOR_NAMES
from tests.conftest import KEPT_STEP_MODELS
from tests.wrong_models import other_operator, signed

MODEL = KEPT_STEP_MODELS / "lstm-int8.tflite"


def test_a_file_is_verified_whose_name_comes_later(tmp_path):
    path = tmp_path / "a name of\ntwo lines.tflite"
    with waiting_runtimes(["litert"]) as runtimes:
        path.write_bytes(MODEL.read_bytes())
        (found,) = runtimes.verify([path])
    assert (found["backend"], found["file"], found["failure"]) == ("litert", path.name, None)


def test_one_that_crashes_on_a_file_is_asked_for_each_alone():
    with waiting_runtimes(["litert"]) as runtimes:
        runtimes.start()
        (process,) = runtimes._processes.values()
        process.kill()
        process.wait()
        (found,) = runtimes.verify([MODEL])
    assert found["failure"] is None


def test_those_that_wait_end_with_a_failed_conversion():
    def convert(runtimes):
        runtimes.start()
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"), waiting_runtimes(["litert"]) as runtimes:
        convert(runtimes)
    (process,) = runtimes._processes.values()
    assert process.returncode is not None


FORK = """
import sys
from pathlib import Path
import tensorflow
from convert.forked_process import ForkedProcess
from convert.verify import verify_on_runtimes, waiting_runtimes
with waiting_runtimes(["tensorflow", "litert"]) as runtimes:
    assert isinstance(runtimes._processes["tensorflow"], ForkedProcess)
    tensorflow.constant(1.0) + 1.0
    found = runtimes.verify([*map(Path, sys.argv[1:])])
    assert [one["backend"] for one in found] == ["tensorflow", "tensorflow", "litert", "litert"]
    assert not [one for one in found if one["failure"]], found
with waiting_runtimes(["tensorflow"]) as runtimes:
    assert not runtimes._processes, "it has computed: a fork may hang"
"""


def test_tensorflow_is_forked_before_it_computes():
    files = [str(MODEL), str(KEPT_STEP_MODELS / "gru-float32.tflite")]
    done = subprocess.run(
        [sys.executable, "-c", FORK, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_libedgestep_does_not_take_is_not_what_it_computes_wrongly(tmp_path):
    """LiteRT knows HARD_SWISH, and computes something else; libedgestep does not know it."""
    model = load_step_model(MODEL)
    for name in ("HARD_SWISH", "LOGISTIC"):
        wrong = signed(model, other_operator(model, "TANH", name))
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(
            pack(wrong.flatbuffer, wrong.contract, wrong.labels, wrong.golden, wrong.recorded)
        )
    found = verify_on_runtimes([MODEL, *tmp_path.glob("*.tflite")], ["native", "litert"])
    by_file = {
        name: [one for one in found if one["file"] == name]
        for name in {one["file"] for one in found}
    }
    assert passed(by_file[MODEL.name]) == ["native", "litert"]
    for name in ("HARD_SWISH", "LOGISTIC"):
        assert passed(by_file[f"{name}.tflite"]) == []
    unknown, wrong = by_file["HARD_SWISH.tflite"], by_file["LOGISTIC.tflite"]
    code = OPERATOR_NAMES.index("HARD_SWISH")
    assert unknown[0]["failure"] is None
    assert objections(unknown)[1] == (
        f"native, which does not take this file: operator {code} of the schema is not known here"
    )
    assert unknown[1]["failure"] is not None
    assert wrong[0]["failure"] is not None
    assert "unsupported" not in wrong[0]
