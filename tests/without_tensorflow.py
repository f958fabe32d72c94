"""pytest plugin of ``make quick``: no test imports TensorFlow.

A module or a test that wants it is skipped at the import; the step models of ``tests/step_models``
stand for those that the other runs train.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

HEAVY = ("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "torch")


class _Skip:
    """Finds nothing; asked for a package that is heavy, it skips the test that asks."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] in HEAVY:
            pytest.skip(f"needs {name}", allow_module_level=True)


def pytest_configure() -> None:
    assert not set(HEAVY) & set(sys.modules), "TensorFlow was imported before the tests"
    sys.meta_path.insert(0, _Skip())


def pytest_sessionfinish() -> None:
    assert not set(HEAVY) & set(sys.modules), "a test has imported TensorFlow"
