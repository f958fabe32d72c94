"""Measure every table of figures in the docs anew: the commands of figures.toml, one after another.

Each command's output is kept in runs/figures/, with the machine, the date and how long it took; a
command that has been done is not done again (--again does it), and an interrupted one goes on where
its own work can. At the end runs/figures/index.md names each table with its command, machine and
date. docs/techniques.md is written by its command; the other tables are copied from the outputs.

    make figures                       # hours
    python benchmarks/figures.py --list
    python benchmarks/figures.py --page tasks.md --with spoken-digits
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from pydantic import Field

from device_runner.measure.machine import describe_machine
from pipeline.errors import PipelineError
from pipeline.files import read_json_lines
from pipeline.toml_settings import Section, read_toml

LIST_FILE = Path(__file__).with_suffix(".toml")
FOLDER = Path("runs/figures")
DONE_FILE = FOLDER / "done.jsonl"
INDEX_FILE = FOLDER / "index.md"


class Figure(Section):
    """[[figures]]: a table and what measures it."""

    page: str
    heading: str
    commands: list[str] = Field(min_length=1)
    needs: str = ""


class Facts(Section):
    """[[facts]]: a table that no command measures, and why."""

    page: str
    heading: str
    reason: str


class Figures(Section):
    """figures.toml"""

    figures: list[Figure] = Field(min_length=1)
    facts: list[Facts] = Field(default=[])


def load_figures() -> Figures:
    """Read the list of tables."""
    return Figures.model_validate(read_toml(LIST_FILE, PipelineError))


def commands_of(figures: list[Figure]) -> Iterator[str]:
    """List all commands once, in the list's order."""
    yield from dict.fromkeys(command for figure in figures for command in figure.commands)


def run(command: str) -> bool:
    """Run a command and note what came of it; tell whether it went well."""
    name = "-".join("".join(c if c.isalnum() else " " for c in command).split())[:100]
    output = FOLDER / f"{name}.txt"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    started, start = datetime.now(timezone.utc), time.monotonic()
    with output.open("w") as file:
        # A shell, for the patterns of file names; the commands are those of figures.toml.
        code = subprocess.run(  # noqa: S602
            command, shell=True, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode
    minutes = (time.monotonic() - start) / 60
    click.echo(f"{'done' if code == 0 else 'FAILED'} in {minutes:.1f} min: {command} -> {output}")
    if code == 0:
        facts = {
            "command": command,
            "output": str(output),
            "date": started.date().isoformat(),
            "minutes": round(minutes, 1),
            "machine": describe_machine(),
        }
        with DONE_FILE.open("a") as lines:
            lines.write(json.dumps(facts) + "\n")
    return code == 0


def write_index(figures: list[Figure]) -> None:
    """Write which machine made which table, and when."""
    done = _done()
    rows = ["| page | table | command | machine | date |", "|---|---|---|---|---|"]
    for figure in figures:
        for command in figure.commands:
            known = done.get(command)
            made = f"{_machine(known)} | {known['date']}" if known else "not measured | "
            rows.append(f"| {figure.page} | {figure.heading} | `{command}` | {made} |")
    INDEX_FILE.write_text("\n".join(rows) + "\n")


def _machine(done: dict[str, Any]) -> str:
    facts = done["machine"]
    return f"{facts['model']}, {facts['cores']} cores"


def _done() -> dict[str, dict[str, Any]]:
    lines = read_json_lines(DONE_FILE) if DONE_FILE.exists() else []
    return {str(line["command"]): line for line in lines}


@click.command()
@click.option("--page", "pages", multiple=True, help="Only the tables of this page of the docs.")
@click.option("--with", "there", multiple=True, help="What this machine has, of what some need.")
@click.option("--again", is_flag=True, help="Also do what has been done.")
@click.option("--list", "only_list", is_flag=True, help="Print the commands; do nothing.")
def main(pages: tuple[str, ...], there: tuple[str, ...], again: bool, only_list: bool) -> None:
    """Run the commands behind the tables of the docs; what has been done is left out."""
    figures = load_figures().figures
    wanted = [
        figure
        for figure in figures
        if (not pages or figure.page in pages) and (not figure.needs or figure.needs in there)
    ]
    done = {} if again else _done()
    left = [command for command in commands_of(wanted) if command not in done]
    for figure in figures:
        if figure.needs and figure.needs not in there:
            click.echo(f"left out, needs --with {figure.needs}: {figure.page}, {figure.heading}")
    if only_list:
        click.echo("\n".join(shlex.join(["bash", "-c", command]) for command in left))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    failed = [command for command in left if not run(command)]
    write_index(figures)
    click.echo(f"{len(left) - len(failed)} commands done, {len(failed)} failed: {INDEX_FILE}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
