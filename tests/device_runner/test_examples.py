"""The examples in docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import device_runner

MODULES = sorted(
    item.name
    for item in pkgutil.walk_packages(device_runner.__path__, "device_runner.")
    if not item.ispkg and not item.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_classes_to_read_first_have_examples():
    from device_runner.model.golden import Golden
    from device_runner.model.tensor_spec import StateSpec, TensorSpec

    finder = doctest.DocTestFinder(recurse=False)
    for public in (TensorSpec, StateSpec, Golden):
        assert finder.find(public)[0].examples
