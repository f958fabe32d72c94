"""Which backend "auto" chooses, and why."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from device_runner.backends import (
    PREFERRED,
    backend_module,
    load_backend,
    native_library,
    self_test,
)
from device_runner.backends.backend import LoadOptions
from device_runner.errors import BadModelError, MissingRuntimeError
from device_runner.model.foreign_model import load_any_model
from device_runner.model.step_file import load_step_model, split_step_file
from device_runner.stream import Stream
from pipeline.bundle import write_bundle
from pipeline.cli import main
from tests.conftest import KEPT_STEP_MODELS

KEPT = sorted(KEPT_STEP_MODELS.glob("*.tflite"))


@pytest.fixture(autouse=True)
def needs_library(monkeypatch):
    try:
        backend_module("native").probe()
    except MissingRuntimeError as error:
        pytest.skip(error.message)
    monkeypatch.setattr(self_test, "_passed", set())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_libedgestep_comes_first(path):
    stream = Stream(path)
    assert stream.backend.name == "native"
    assert stream.backend.choice == "passes its self-test on this file"
    assert stream.state_bytes() == load_step_model(path).contract.initial_state()
    assert Stream(path, "native").backend.choice == ""


def test_inspect_says_what_is_chosen_and_why(monkeypatch):
    text = CliRunner().invoke(main, ["inspect", str(KEPT[0]), "--auto"]).output
    assert re.search(r"auto takes native \(\S+\): passes its self-test on this file\n$", text)
    assert "auto takes" not in CliRunner().invoke(main, ["inspect", str(KEPT[0])]).output

    def missing(*_):
        raise MissingRuntimeError("it is not here")

    for name in (*PREFERRED, "native"):
        monkeypatch.setattr(backend_module(name), "load", missing)
    result = CliRunner().invoke(main, ["inspect", str(KEPT[0]), "--auto", "--json"])
    chosen = json.loads(result.output)["auto"]
    assert chosen["backend"] is None
    assert "it is not here" in chosen["why"]


def test_inspect_chooses_for_step_models_alone(tmp_path):
    other = tmp_path / "other.tflite"
    flatbuffer, _ = split_step_file(KEPT[0].read_bytes())
    other.write_bytes(flatbuffer)
    result = CliRunner().invoke(main, ["inspect", str(other), "--auto"])
    assert (result.exit_code, "--auto is for step models" in result.output) == (2, True)


def test_it_is_tested_once_a_process(monkeypatch):
    for _ in range(2):
        assert Stream(KEPT[1]).backend.name == "native"
    assert len(self_test._passed) == 1


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_wrong_kernels_are_not_taken(path, monkeypatch):
    """Every output byte is off by a few, as of a kernel that rounds wrongly."""
    module = backend_module("native")
    load = module.load

    def load_wrong(model, options):
        backend = load(model, options)
        step, dtype = backend.step, model.contract.answers[0].dtype

        def wrong(frame):
            given = np.frombuffer(step(frame), dtype)
            return (given * 0.5).astype(dtype).tobytes()

        backend.step = wrong
        return backend

    monkeypatch.setattr(module, "load", load_wrong)
    backend = load_backend(load_step_model(path))
    assert backend.name == "litert"
    assert "not native: its self-test fails: " in backend.choice


def test_a_file_that_it_refuses_goes_to_the_next(monkeypatch):
    module = backend_module("native")

    def refuse(model, options):
        raise BadModelError(f"{model.path}: libedgestep refuses the model (CONV_2D)")

    monkeypatch.setattr(module, "load", refuse)
    backend = load_backend(load_step_model(KEPT[0]))
    assert (backend.name, backend.choice) == (
        "litert",
        "not native: libedgestep refuses the model (CONV_2D)",
    )


def test_what_cannot_be_tested_and_what_it_cannot_do_goes_to_the_next():
    model = load_step_model(KEPT[0])
    threads = load_backend(model, options=LoadOptions(threads=2))
    assert (threads.name, "one thread" in threads.choice) == ("litert", True)
    foreign = replace(model, unverified="it has no contract")
    backend = load_backend(foreign)
    assert (backend.name, "nothing to test it with" in backend.choice) == ("litert", True)


def test_foreign_files_are_stepped_by_the_next(tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(load_step_model(KEPT[0]).flatbuffer)
    assert load_backend(load_any_model(bare)).name == "litert"


PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
from device_runner.backends import native_library
from device_runner.stream import Stream
stream = Stream(sys.argv[2])
print(stream.backend.name, native_library.load_call_module() is not None, stream.step.__class__)
print(stream.run(stream.model.golden.x).tobytes().hex())
"""


def test_the_device_program_carries_it(tmp_path):
    program = write_bundle(tmp_path / "device.pyz")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(program), str(KEPT[1])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    here = native_library.load_call_module() is not None
    assert first.startswith(f"native {here} ")
    stream = Stream(KEPT[1], "native")
    assert second == stream.run(stream.model.golden.x).tobytes().hex()
    assert not list(Path(tmp_path).glob("*.so"))


def test_a_machine_without_a_library_is_told(monkeypatch):
    monkeypatch.setattr(native_library, "compiled_files", list)
    monkeypatch.setattr(native_library, "this_machine", lambda: "riscv64")
    native_library.load_library.cache_clear()
    try:
        backend = load_backend(load_step_model(KEPT[0]))
    finally:
        native_library.load_library.cache_clear()
    assert backend.name == "litert"
    assert backend.choice.startswith("not native: libedgestep is not compiled")
