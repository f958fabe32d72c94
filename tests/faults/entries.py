"""The commands of ``edgestep``, and those parts of longer ones that read a file of the user's.

Whole, ``run`` would train for minutes and ``bench --inventory`` would call devices.
"""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands import CommandEntry
from device_runner.commands.group import CommandGroup
from pipeline.commands import COMMANDS

OWN = {
    name: CommandEntry(f"tests.faults.entries.{name.replace('-', '_')}", "Parts", "")
    for name in ("read-data", "read-recipe", "read-inventory", "read-result")
}


@click.group(cls=CommandGroup, entries={**COMMANDS, **OWN})
def main() -> None:
    """All that reads files."""


@click.command()
@click.argument("source")
@click.option("--width", type=int, default=3)
@click.option("--vocabulary", type=int)
def read_data(source: str, width: int, vocabulary: int | None) -> None:
    """What ``convert --data`` reads before it converts."""
    from calibration.data import InputShape, load_sequences

    shape = (1,) if vocabulary else (width,)
    found = load_sequences(source, [InputShape("x", shape, vocabulary)])
    click.echo(f"{len(found)} sequences")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def read_recipe(path: Path) -> None:
    """What ``run`` checks before it makes anything."""
    from pipeline.networks import networks_of
    from pipeline.recipe import load_recipe
    from pipeline.recipe_check import check_names

    recipe = load_recipe(path)
    check_names(recipe)
    for network in networks_of(recipe):
        for scheme in recipe.schemes:
            file = Path("runs", recipe.name, network.file_name(scheme))
            if len(file.parts) != 3 or ".." in file.parts:
                raise AssertionError(f"outside of its folder: {file}")
    click.echo("good")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def read_inventory(path: Path) -> None:
    """What ``bench --inventory`` reads before it calls devices."""
    from pipeline.remote.inventory import choose_devices

    click.echo(", ".join(choose_devices([], path)))


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def read_result(path: Path) -> None:
    """What ``bench --host`` does with what a device sends."""
    from device_runner.measure.result_table import format_results
    from device_runner.printable import echo
    from pipeline.errors import DeviceError
    from pipeline.remote.device_answers import read_result as read

    try:
        result = read(path.read_bytes())
    except ValueError as error:
        raise DeviceError(f"pi: sent a damaged result ({error}); run it again", 3) from error
    echo(format_results([result]))  # type: ignore[list-item]
