"""What README, ARCHITECTURE, CONTRIBUTING and the docs name is there: files, modules, commands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
DOCUMENTS = [*GUIDES, *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("edgestep", "models", "calibration", "convert", "device_runner", "pipeline")
FOLDERS = (*PACKAGES, "tests", "docs", "recipes", "benchmarks", "examples", ".ci")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
CODE_BLOCK = re.compile(r"^```(?:sh|text)?\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE_NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
# What a user has, or what a run leaves.
NOT_IN_THE_TREE = ("runs/", ".cache/", ".venv/", "site/")


def _spans(document: Path) -> list[str]:
    return CODE_SPAN.findall(re.sub(r"^```.*?^```", "", document.read_text(), flags=re.S | re.M))


def _ids(documents: list[Path]) -> list[str]:
    return [document.relative_to(ROOT).as_posix() for document in documents]


@pytest.mark.parametrize("document", GUIDES, ids=_ids(GUIDES))
def test_files_that_are_named_are_there(document):
    named = {
        span.split(":")[0].split(" ")[0]
        for span in _spans(document)
        if span.startswith(tuple(f"{folder}/" for folder in FOLDERS))
    }
    assert [path for path in sorted(named) if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids(DOCUMENTS))
def test_modules_and_functions_that_are_named_are_there(document):
    named = {span for span in _spans(document) if MODULE_NAME.fullmatch(span)}
    assert [name for name in sorted(named) if not _exists(name)] == []


def _exists(name: str) -> bool:
    """Tell whether a dotted name is a module, or something that a module defines."""
    parts = name.split(".")
    if (ROOT / "/".join(parts)).with_suffix("." + parts[-1]).exists() and len(parts) == 2:
        return True  # a file, as pipeline.toml
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.exists():
            return _defines(ast.parse(file.read_text()).body, parts[length:])
    return False


def _defines(body: list[ast.stmt], names: list[str]) -> bool:
    if not names:
        return True
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if statement.name == names[0]:
                return _defines(statement.body, names[1:])
        elif names[0] in _assigned(statement):
            return len(names) == 1
    return False


def _assigned(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.If):
        return set().union(*map(_assigned, statement.body))
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids(DOCUMENTS))
def test_links_lead_somewhere(document):
    links = [link.partition("#")[0] for link in LINK.findall(document.read_text())]
    files = [link for link in links if link and "://" not in link and not link.startswith("mailto")]
    assert [link for link in files if not (document.parent / link).exists()] == []


def _command_lines(document: Path) -> Iterator[list[str]]:
    """List the arguments of each ``edgestep`` and ``device_runner`` command in a document."""
    text = document.read_text().replace("\\\n", " ")
    lines = [line for block in CODE_BLOCK.findall(text) for line in block.splitlines()]
    lines += [*_spans(document), *re.findall(r"^#+ .*?`([^`]+)`", text, re.M)]
    for line in lines:
        found = re.search(
            r"(?:^|[\s/|])(?:edgestep|-m device_runner|python3 edgestep-device\.pyz) (.*)", line
        )
        if found and not found[1].lstrip().startswith(("-", "repo")):
            words = shlex.split(found[1].partition(" #")[0].partition("|")[0], posix=True)
            yield [word for word in words if word]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids(DOCUMENTS))
def test_commands_that_are_named_are_there(document):
    from pipeline.cli import main

    wrong = []
    for words in _command_lines(document):
        command: click.Command = main
        rest = list(words)
        while isinstance(command, click.Group) and rest:
            found = command.get_command(click.Context(command), rest[0])
            if found is None:
                break
            command, rest = found, rest[1:]
        if command is main and words[0].isupper():
            continue  # a placeholder
        options = {option for one in command.params for option in one.opts} | {"-h", "--help"}
        unknown = [
            word for word in rest if word.startswith("--") and word.split("=")[0] not in options
        ]
        if command is main or unknown:
            wrong.append((" ".join(words), unknown))
    assert wrong == []


def test_every_recipe_is_in_the_list():
    listed = (ROOT / "docs" / "recipes.md").read_text()
    recipes = [path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").glob("*.toml")]
    assert [recipe for recipe in sorted(recipes) if recipe not in listed] == []
