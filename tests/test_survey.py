"""docs/survey.md has no gap: each section is there, and what a row names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "survey.md"
# Sections of the survey that name a technique, a task, a tool, a device or a direction.
SECTIONS = (
    "2.1", "2.2.1", "2.2.2", "2.2.3", "2.3.1", "2.3.2", "2.3.3", "3.1.1", "3.1.2", "3.1.3",
    "3.2.1", "3.2.2", "3.2.3", "4.1", "4.2", "4.3",
)  # fmt: skip
CHAPTERS = ("5.", "6.", "7.", "8.", "Appendix")
# What a row may say of itself; a reason follows "absent".
WORDS = re.compile(r"here(| in part|, badly|, untested on a device)|absent: \S.*")
FOLDERS = (
    r"(?:models|calibration|convert|device_runner|pipeline|edgestep|tests|recipes|benchmarks)/"
)


def rows() -> list[list[str]]:
    """List the cells of each row: what the survey says, the word, where, how to see it."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "the survey says"]


def test_each_section_has_a_row():
    said = [row[0] for row in rows()]
    text = PAGE.read_text()
    assert [s for s in SECTIONS if not any(one.startswith(f"{s} ") for one in said)] == []
    assert [c for c in CHAPTERS if f"\n## {c}" not in text] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_a_row_says_where_and_how(row):
    said, word, where, how = row
    assert WORDS.fullmatch(word), word
    if word.startswith("here"):
        assert where, f"{said}: where?"
        assert "`" in how or "](" in how, f"{said}: by which command?"


def test_files_that_are_named_are_there():
    named = re.findall(rf"(?<![\w/])({FOLDERS}[\w./-]*)", PAGE.read_text())
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path.rstrip(".,")).exists()] == []


def test_targets_that_are_named_are_there():
    """Commands of edgestep are held by tests/test_documents.py."""
    targets = set(re.findall(r"`make ([\w-]+)", PAGE.read_text()))
    known = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert targets <= known
