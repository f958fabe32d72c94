"""One thing of each kind is added to a copy of the tree: it takes few files, and no other test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks.additions import ADDITIONS

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "edgestep", "models", "calibration", "convert", "device_runner", "pipeline", "tests", "docs",
    "recipes",
)  # fmt: skip
# The thing's own file, its line in the list, its test where it needs one of its own, its page.
MOST_FILES = {
    "cell": 4,
    "task": 3,
    "scheme": 4,
    "target": 4,
    "backend": 3,
    "compression": 3,
}


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the tree."""
    copy = tmp_path / "tree"
    copy.mkdir()
    shutil.copy(ROOT / "pyproject.toml", copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.svg")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    return copy


def test_every_kind_is_added():
    assert set(ADDITIONS) == set(MOST_FILES)


@pytest.mark.parametrize("kind", MOST_FILES)
def test_it_takes_few_files(kind):
    assert len(ADDITIONS[kind].touched) <= MOST_FILES[kind], ADDITIONS[kind].touched


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOST_FILES)
def test_what_is_added_passes_the_checks(kind, tree):
    addition = ADDITIONS[kind]
    addition.put_into(tree)
    for arguments in addition.checks:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-3000:]}"
