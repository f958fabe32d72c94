"""benchmarks/figures.toml lists every table of figures in the docs, and nothing else."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from convert.toml_text import parse_toml

ROOT = Path(__file__).parents[1]
LISTED = parse_toml((ROOT / "benchmarks" / "figures.toml").read_bytes())
# A table is one of figures if so many of its cells, but for the first column, begin with a number.
SHARE = 0.3
NUMBER = re.compile(r"^[<>+~-]?\s?\d[\d.,]*")
RULE = re.compile(r"\|[-| :]+\|$")


def tables():
    """List (page, heading) of each table of figures in the docs."""
    found = set()
    for page in sorted((ROOT / "docs").glob("*.md")):
        heading, fenced = "", False
        lines = page.read_text().splitlines()
        for number, line in enumerate(lines):
            fenced ^= line.startswith("```")
            if not fenced and line.startswith("#"):
                heading = line.lstrip("# ")
            if not fenced and RULE.match(line) and is_of_figures(lines[number + 1 :]):
                found.add((page.name, heading))
    return found


def is_of_figures(lines):
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")[1:]])
    cells = [cell for row in rows for cell in row]
    return sum(bool(NUMBER.match(cell)) for cell in cells) >= SHARE * max(1, len(cells))


def is_of(entry, page, heading):
    return entry["page"] == page and heading.startswith(entry["heading"])


def test_every_table_of_figures_is_listed():
    listed = [*LISTED["figures"], *LISTED["facts"]]
    missing = [one for one in sorted(tables()) if not any(is_of(entry, *one) for entry in listed)]
    assert missing == []


@pytest.mark.parametrize(
    "entry", [*LISTED["figures"], *LISTED["facts"]], ids=lambda one: one["heading"]
)
def test_what_is_listed_is_there(entry):
    assert any(is_of(entry, page, heading) for page, heading in tables())
    for command in entry.get("commands", ()):
        for word in shlex.split(command):
            if word.startswith(("recipes/", "benchmarks/", "docs/")):
                assert (ROOT / word).exists(), word
        if command.startswith("make "):
            assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("entry", LISTED["figures"], ids=lambda one: one["heading"])
def test_the_page_names_the_script_or_recipe(entry):
    """A reader finds the command beside the table."""
    text = (ROOT / "docs" / entry["page"]).read_text()
    for command in entry["commands"]:
        words = shlex.split(command)
        named = next((word for word in words if word.startswith(("recipes/", "benchmarks/"))), "")
        shown = {"recipes/demo.toml": "make demo"}.get(named, named or " ".join(words[:2]))
        assert shown in text, command


def test_the_command_lists_what_is_left():
    command = [sys.executable, "benchmarks/figures.py", "--list", "--page", "windows.md"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "python benchmarks/windows.py" in answer.stdout
    assert "recipes/" not in answer.stdout
