"""Runtimes that are started before there is a file to verify."""

from __future__ import annotations

import pytest

from convert.verify import waiting_runtimes
from tests.conftest import KEPT_STEP_MODELS

MODEL = KEPT_STEP_MODELS / "lstm-int8.tflite"


def test_a_file_is_verified_whose_name_comes_later(tmp_path):
    path = tmp_path / "a name of\ntwo lines.tflite"
    with waiting_runtimes(["litert"]) as runtimes:
        path.write_bytes(MODEL.read_bytes())
        (found,) = runtimes.verify([path])
    assert (found["backend"], found["file"], found["failure"]) == ("litert", path.name, None)


def test_one_that_crashes_on_a_file_is_asked_for_each_alone():
    with waiting_runtimes(["litert"]) as runtimes:
        (process,) = runtimes._processes.values()
        process.kill()
        process.wait()
        (found,) = runtimes.verify([MODEL])
    assert found["failure"] is None


def test_those_that_wait_end_with_a_failed_conversion():
    with pytest.raises(ValueError, match="failed"), waiting_runtimes(["litert"]) as runtimes:
        raise ValueError("failed")
    (process,) = runtimes._processes.values()
    assert process.returncode is not None
