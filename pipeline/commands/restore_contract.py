"""``edgestep restore-contract``: what edgetpu_compiler wrote, as a step model again."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_not_source, check_replaceable
from device_runner.printable import echo


@click.command("restore-contract")
@click.argument("compiled", type=click.Path(path_type=Path))
@click.argument("original", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: COMPILED itself.")  # fmt: skip
@force_option
def restore_contract_command(
    compiled: Path, original: Path, output: Path | None, force: bool
) -> None:
    """Make a step model again of what edgetpu_compiler wrote.

    COMPILED is the compiler's file, ORIGINAL the step model that it was given.
    """
    from convert.exporters.edgetpu import restore_contract

    check_not_source(output or compiled, original)
    if output is not None and output != compiled:
        check_replaceable(output, OutputKind.STEP_MODEL, force)
    model = restore_contract(compiled, load_step_model(original), output or compiled)
    operators = ", ".join(operator.name for operator in model.graph.operators)
    echo(f"{model.path}: {model.file_bytes:,} bytes; operators: {operators}")
