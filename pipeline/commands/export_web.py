"""``edgestep export-web``: a step model as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_not_source, check_replaceable
from device_runner.printable import echo


@click.command("export-web")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: FILE with the suffix .html.")  # fmt: skip
@force_option
def export_web_command(file: Path, output: Path | None, force: bool) -> None:
    """Write one HTML file that steps the step model FILE in a browser.

    It tests itself on the golden sequences, steps CSV, a WAV file or the microphone, draws the
    outputs and measures a step. It loads nothing from elsewhere and needs no server.
    """
    from convert.exporters.web_page import export_web

    model = load_step_model(file)
    model.require_one_row("a page")
    output = output or file.with_suffix(".html")
    check_not_source(output, file)
    check_replaceable(output, OutputKind.WEB_PAGE, force)
    size = export_web(model, output)
    echo(f"{output}: {size:,} bytes; open it in a browser")
