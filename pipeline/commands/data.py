"""``edgestep data``: a first look at data, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_runner.commands.options import force_option
from device_runner.errors import OptionError
from device_runner.printable import echo, without_controls

if TYPE_CHECKING:
    from rich.console import RenderableType

    from models.tasks.task import Task

# Classes and groups shown; more would be no first look.
SHOWN = 30


@click.command("data")
@click.argument("place", type=click.Path(path_type=Path), metavar="RECIPE|FOLDER")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="RECIPE",
              help="Of a folder: the recipe to write; default: the folder's name.")  # fmt: skip
@force_option
def data_command(place: Path, output: Path | None, force: bool) -> None:
    """Look at the data of RECIPE: parts, classes, groups, channels, and what would spoil a training
    or flatter its figures.

    Of a FOLDER of CSV, NPZ, Parquet or WAV files, write a recipe that reads it. What its files do
    not tell stays a question in it.
    """
    if place.is_dir():
        _draft(place, output, force)
        return
    if output:
        raise click.UsageError("--output is for a folder of recordings; leave it out for a recipe")
    from rich.console import Console

    from models.first_look import first_look
    from pipeline.recipe import load_recipe

    task = load_recipe(place).load_task()
    console = Console()
    console.print(without_controls(_facts(task)), markup=False)
    console.print(_table(task))
    findings = first_look(task)
    for remark in task.remarks:
        console.print(without_controls(f"remark: {remark}"), markup=False)
    for finding in findings:
        kind = "GRAVE" if finding.grave else "look"
        console.print(without_controls(f"{kind}: {finding.text}"), markup=False)
    if not findings:
        console.print("nothing was found that would spoil a training")


def _draft(folder: Path, output: Path | None, force: bool) -> None:
    from device_runner.atomic_write import write_atomically
    from pipeline.data_draft import draft, recipe_text
    from pipeline.names import as_file_name

    target = output or Path(f"{as_file_name(folder.resolve().name)}.toml")
    if target.exists() and not force:
        raise OptionError(
            f"{target} is there, perhaps with your answers; name another file with --output, or "
            "say --force to replace it"
        )
    found = draft(folder)
    write_atomically(target, recipe_text(as_file_name(target.stem), found).encode())
    echo(target)
    for question in found.questions:
        echo(f"answer in it: {question}")
    echo(f"then: edgestep data {target}")


def _facts(task: Task) -> str:
    steps = sum(int(part.lengths.sum()) for part in (task.train, task.validation, task.test))
    inputs = f"{task.vocabulary} token ids" if task.vocabulary else ", ".join(task.channels[:12])
    more = f" and {len(task.channels) - 12} more" if len(task.channels) > 12 else ""
    return (
        f"{task.name}: {task.source}\n"
        f"inputs: {inputs}{more} ({task.units})\n"
        f"a frame every {1000 * task.frame_period_s:g} ms ({task.frame_period_source}); {steps:,} "
        f"steps, {steps * task.frame_period_s / 3600:.3g} hours"
    )


def _table(task: Task) -> RenderableType:
    """A row for each number that tells something of the three parts."""
    from rich.table import Table

    from models.first_look import class_counts, parts_of

    parts = parts_of(task)
    table = Table("", *parts)
    table.add_row("sequences", *(str(len(part)) for part in parts.values()))
    lengths = (
        f"{part.lengths.min()}-{part.lengths.max()}, median {sorted(part.lengths)[len(part) // 2]}"
        for part in parts.values()
    )
    table.add_row("steps of each", *lengths)
    if task.group_name:
        counts = (str(len(set(part.groups.tolist()))) for part in parts.values())
        table.add_row(f"{task.group_name}s", *counts)
    classes = [class_counts(part, len(task.labels)) for part in parts.values()]
    for number, label in enumerate(task.labels[:SHOWN]):
        shown = [str(found[number]) for found in classes if found is not None]
        if shown:
            table.add_row(without_controls(label), *shown)
    return table
