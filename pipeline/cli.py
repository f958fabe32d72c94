"""The ``edgestep`` command: the on-device commands, and ``run`` for the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import click

from device_runner import cli as device
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import load_step_model
from pipeline.bundle import BUNDLE_NAME, write_bundle
from pipeline.convert_command import convert_command
from pipeline.remote.command import bench
from pipeline.target_commands import check, compile_edgetpu, export_c_command
from pipeline.workspace import STAGES


class PipelineCommands(device.CommandGroup):
    """The command group of a tool whose stages survive an interruption."""

    interrupted = "Interrupted: finished stages are kept; run the same command to go on."


@click.group(cls=PipelineCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgestep")
def main() -> None:
    """Recurrent networks on small devices: from training to a measured int8 step."""


for command in (
    device.doctor_command,
    device.inspect,
    device.verify_command,
    bench,
    device.sample_command,
    device.stream_command,
    device.translate_command,
    check,
    compile_edgetpu,
    export_c_command,
    convert_command,
):
    main.add_command(command)


@main.group("device")
def device_group() -> None:
    """The program that goes onto the device."""


@device_group.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=BUNDLE_NAME,
              show_default=True, help="The file to write.")  # fmt: skip
def bundle(output: Path) -> None:
    """Write the on-device program as one file, to be copied to a device.

    It needs Python 3.10 or newer there, numpy, click and one runtime.
    """
    write_bundle(output)
    click.echo(f"{output}: {output.stat().st_size:,} bytes; run it with 'python3 {output.name}'")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds a folder per recipe.")  # fmt: skip
@click.option("--until", type=click.Choice(STAGES), default=STAGES[-1],
              show_default=True, help="Stop after this stage.")  # fmt: skip
@click.option("--again", type=click.Choice(STAGES), multiple=True,
              help="Do this stage again even if it is done.")  # fmt: skip
def run(recipe: Path, runs_dir: Path, until: str, again: tuple[str, ...]) -> None:
    """Train, convert, verify and measure all models of RECIPE; finished stages are skipped.

    Leaves the .tflite files, results.jsonl and report.html in RUNS_DIR/NAME.
    """
    try:
        from pipeline.run import run_recipe
    except ImportError as error:
        raise MissingRuntimeError(
            f"'edgestep run' needs the workstation's packages ({error}); "
            "install them with 'pip install edgestep[workstation]'"
        ) from error
    run_recipe(recipe, runs_dir, until, again)


@main.command("zoo")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def zoo_command(as_json: bool) -> None:
    """List every cell and every task, with its source and what it is for."""
    from models.tensorflow_log import load_tensorflow
    from pipeline import zoo

    load_tensorflow()
    cells, tasks = zoo.cells(), zoo.tasks()
    if as_json:
        click.echo(json.dumps({"cells": cells, "tasks": tasks}))
        return
    click.echo(f"cells (parameters of {zoo.UNITS} units on {zoo.INPUTS} inputs)")
    for cell in cells:
        click.echo(
            f"  {cell['cell']:20}{cell['parameters']:>8,}  {cell['source']}: {cell['purpose']}"
        )
    click.echo("tasks")
    for task in tasks:
        click.echo(f"  {task['task']:20}{task['purpose']}")


@main.command("techniques")
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds the finished runs.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              default="docs/techniques.md", show_default=True,
              help="The file to write.")  # fmt: skip
def techniques_command(runs_dir: Path, output: Path) -> None:
    """Write the table of what each cell and each technique costs and buys, from finished runs.

    What is not yet measured is listed with the command that measures it.
    """
    from device_runner.atomic_write import write_atomically
    from pipeline.technique_table import load_techniques, technique_document

    write_atomically(output, technique_document(load_techniques(), runs_dir).encode())
    click.echo(output)


@main.command("restore-contract")
@click.argument("compiled", type=click.Path(path_type=Path))
@click.argument("original", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: COMPILED itself.")  # fmt: skip
def restore_contract_command(compiled: Path, original: Path, output: Path | None) -> None:
    """Make a step model again of what edgetpu_compiler wrote.

    COMPILED is the compiler's file, ORIGINAL the step model that it was given.
    """
    from convert.exporters.edgetpu import restore_contract

    model = restore_contract(compiled, load_step_model(original), output or compiled)
    operators = ", ".join(operator.name for operator in model.graph.operators)
    click.echo(f"{model.path}: {model.file_bytes:,} bytes; operators: {operators}")


@main.command("export-onnx")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: FILE with the suffix .onnx.")  # fmt: skip
def export_onnx_command(file: Path, output: Path | None) -> None:
    """Write a float32 step model as ONNX, checked in ONNX Runtime against the float model.

    Inputs are x and the states, outputs y and the states' names with _out.
    """
    from convert.exporters.onnx import export_onnx

    model = load_step_model(file)
    output = output or file.with_suffix(".onnx")
    verification = export_onnx(model, output)
    click.echo(
        f"{output}: {output.stat().st_size:,} bytes; {verification.steps} steps on "
        f"{verification.backend} {verification.backend_version}, "
        f"rms error {verification.rms:.3g}, largest {verification.max_abs:.3g}"
    )
