"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from tests.conftest import KEPT_STEP_MODELS

ROOT = Path(__file__).parents[1]
PACKAGES = ("edgestep", "models", "calibration", "convert", "device_runner", "pipeline")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


# What a user meets first.
READ_FIRST = (
    "device_runner.model.golden.Golden",
    "device_runner.model.tensor_spec.StateSpec",
    "device_runner.model.tensor_spec.TensorSpec",
)


@pytest.mark.parametrize("name", READ_FIRST)
def test_what_is_read_first_has_an_example(name):
    module, _, public = name.rpartition(".")
    found = doctest.DocTestFinder(recurse=False).find(
        getattr(importlib.import_module(module), public)
    )
    assert found[0].examples


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    # An example may write, and reads step models by name.
    shutil.copytree(KEPT_STEP_MODELS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testmod(module, optionflags=options)
    assert found.attempted
    assert not found.failed
