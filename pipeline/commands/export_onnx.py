"""``edgestep export-onnx``: a float32 step model as ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo


@click.command("export-onnx")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: FILE with the suffix .onnx.")  # fmt: skip
@force_option
def export_onnx_command(file: Path, output: Path | None, force: bool) -> None:
    """Write a float32 step model as ONNX, checked in ONNX Runtime against the float model.

    Inputs are x and the states, outputs y and the states' names with _out.
    """
    from convert.exporters.onnx import export_onnx

    model = load_step_model(file)
    output = output or file.with_suffix(".onnx")
    check_replaceable(output, OutputKind.ONNX, force)
    verification = export_onnx(model, output)
    echo(
        f"{output}: {output.stat().st_size:,} bytes; {verification.steps} steps on "
        f"{verification.backend} {verification.backend_version}, "
        f"rms error {verification.rms:.3g}, largest {verification.max_abs:.3g}"
    )
