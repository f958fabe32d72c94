"""No file of more than 400 lines, no function of more than 60: what is longer is two things."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "edgestep", "models", "calibration", "convert", "device_runner", "pipeline", "benchmarks",
    "examples", "tests",
)  # fmt: skip
FILE_LINES, FUNCTION_LINES = 400, 60


def _sources() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def _functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, decorators left out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_too_long():
    found = [path for path, text in _sources() if text.count("\n") > FILE_LINES]
    assert not found


def test_no_function_is_too_long():
    found = [
        f"{path}: {name}"
        for path, text in _sources()
        for name, lines in _functions(text)
        if lines > FUNCTION_LINES
    ]
    assert not found
