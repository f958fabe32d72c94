"""``edgestep techniques``: what each cell and each technique costs and buys."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo


@click.command("techniques")
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds the finished runs.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              default="docs/techniques.md", show_default=True,
              help="The file to write.")  # fmt: skip
@force_option
def techniques_command(runs_dir: Path, output: Path, force: bool) -> None:
    """Write the table of what each cell and each technique costs and buys, from finished runs.

    What was not run here stays as the file has it, with its date; what was never measured is
    listed with the command that measures it.
    """
    from device_runner.atomic_write import write_atomically
    from pipeline.earlier_techniques import EarlierDocument
    from pipeline.technique_table import load_techniques, technique_document

    check_replaceable(output, OutputKind.TECHNIQUES, force)
    earlier = EarlierDocument.read(output)
    write_atomically(output, technique_document(load_techniques(), runs_dir, earlier).encode())
    echo(output)
