"""Bad models, wrong usage and missing runtimes: each ends in one line and an exit code."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends import native_library
from tests.device_runner.command_line import (
    BAD_DATA,
    LITERT,
    MISSING_RUNTIME,
    USAGE,
)

SHORT = ("--steps", "100", "--rounds", "1", "--warmup", "0")


@pytest.fixture
def no_runtime(monkeypatch) -> Iterator[None]:
    """A device without any TFLite runtime, and without libedgestep."""
    monkeypatch.setattr(native_library, "compiled_files", list)
    monkeypatch.setattr(native_library, "_carried", lambda name: None)
    native_library.load_library.cache_clear()
    for package in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    yield
    native_library.load_library.cache_clear()


# Bad models


@pytest.fixture
def bad_model(workshop):
    """Path of a bad model by what is wrong with it."""

    def get(kind: str) -> Path:
        if kind == "missing":
            return workshop.folder / "missing.tflite"
        if kind == "folder":
            return workshop.folder
        contents = {
            "empty": b"",
            "random": random.Random(2).randbytes(3000),
            "truncated": workshop.data[:-500],
            "without-contract": workshop.model.flatbuffer,
            "other-scale": workshop.packed(
                contract=replace(
                    workshop.model.contract,
                    inputs=(replace(workshop.model.contract.input, scale=1.0),),
                )
            ),
            "pickled": workshop.with_golden(x=np.array([{}], object)),
        }
        return workshop.write(contents[kind], f"{kind}.tflite")

    return get


@pytest.mark.parametrize("command", ["inspect", "verify", "bench", "stream"])
@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "folder",
        "empty",
        "random",
        "truncated",
        "without-contract",
        "other-scale",
        "pickled",
    ],
)
def test_bad_model_ends_in_one_line(command, kind, bad_model, invoke, error_line):
    path = bad_model(kind)
    result = invoke(command, path, *(SHORT if command == "bench" else ()), input="")
    if kind == "without-contract" and command in ("inspect", "bench"):
        assert result.exit_code == 0
        assert {"inspect": "without a step contract", "bench": "UNVERIFIED"}[command] in (
            result.stdout
        )
        return
    assert result.exit_code == BAD_DATA
    assert error_line(result).startswith(f"Error: {path}")
    assert result.stdout == ""


def test_bad_model_after_a_good_one(int8_file, bad_model, invoke, error_line):
    empty = bad_model("empty")
    for command in ("verify", "bench"):
        result = invoke(command, int8_file, empty, *LITERT)
        assert result.exit_code == BAD_DATA
        assert error_line(result).startswith(f"Error: {empty}")


# Usage


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("bench", "FILE", "--steps", 99), "--steps"),
        (("bench", "FILE", "--steps", "many"), "--steps"),
        (("bench", "FILE", "--rounds", 0), "--rounds"),
        (("bench", "FILE", "--warmup", -1), "--warmup"),
        (("bench", "FILE", "--threads", 0), "--threads"),
        (("bench", "FILE", "--fast"), "--fast"),
        (("bench", "FILE", "--output", "."), "--output"),
        (("bench",), "FILES"),
        (("verify",), "FILES"),
        (("inspect",), "FILE"),
        (("inspect", "FILE", "FILE"), "extra argument"),
        (("measure", "FILE"), "No such command 'measure'"),
    ],
)
def test_wrong_usage_ends_in_one_line(arguments, part, int8_file, invoke, error_line):
    result = invoke(*(int8_file if argument == "FILE" else argument for argument in arguments))
    assert result.exit_code == USAGE
    assert part in error_line(result)


@pytest.mark.parametrize(
    ("typed", "meant"), [("bnech", "bench"), ("verfy", "verify"), ("inspct", "inspect")]
)
def test_unknown_command_suggests_the_nearest(typed, meant, invoke, error_line):
    result = invoke(typed)
    assert result.exit_code == USAGE
    assert error_line(result).endswith(f"; did you mean '{meant}'?")


@pytest.mark.parametrize("command", ["verify", "bench", "stream"])
@pytest.mark.parametrize(
    ("typed", "meant"),
    [("liter", "litert"), ("tflite_run", "tflite-runtime"), ("tensorlow", "tensorflow")],
)
def test_unknown_backend_suggests_the_nearest(command, typed, meant, int8_file, invoke, error_line):
    result = invoke(command, int8_file, "--backend", typed, input="")
    assert result.exit_code == USAGE
    line = error_line(result)
    assert f"unknown backend '{typed}'; did you mean '{meant}'?" in line
    assert "There are: " in line


def test_unknown_backend_without_a_near_one_lists_all(int8_file, invoke, error_line):
    result = invoke("verify", int8_file, "--backend", "zzz")
    assert result.exit_code == USAGE
    line = error_line(result)
    assert "did you mean" not in line
    assert all(name in line for name in ("litert", "tflite-runtime", "tensorflow"))


# Runtimes


@pytest.mark.parametrize("command", ["verify", "bench", "stream"])
@pytest.mark.parametrize("backend", ["auto", "litert", "tflite-runtime", "tensorflow"])
def test_missing_runtime_says_how_to_install_it(
    command, backend, no_runtime, int8_file, invoke, error_line
):
    result = invoke(command, int8_file, "--backend", backend, input="")
    assert result.exit_code == MISSING_RUNTIME
    assert "pip install" in error_line(result)


def test_inspect_needs_no_runtime(no_runtime, int8_file, invoke):
    assert invoke("inspect", int8_file).exit_code == 0


class BrokenRuntime:
    """A finder by which one package fails to import with NumPy's many-line explanation."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ImportError("\n\nA module that was compiled using NumPy 1.x\ncannot be run.\n")


def test_broken_runtime_ends_in_one_line(int8_file, invoke, error_line, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tflite_runtime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [BrokenRuntime("tflite_runtime"), *sys.meta_path])
    result = invoke("verify", int8_file, "--backend", "tflite-runtime")
    assert result.exit_code == MISSING_RUNTIME
    assert "compiled using NumPy 1.x" in error_line(result)


def test_runtime_of_another_distribution_works(int8_file, invoke, monkeypatch):
    """ai-edge-litert-nightly and distributions' own packages hold the same module."""
    import importlib.metadata

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert invoke("verify", int8_file, *LITERT).exit_code == 0
