"""The ``edgestep`` command: the on-device commands, and ``run`` for the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import click

from device_runner.commands import COMMANDS as DEVICE_COMMANDS
from device_runner.commands import CommandEntry
from device_runner.commands.group import HELP_NAMES, CommandGroup
from device_runner.errors import MissingRuntimeError
from device_runner.model.step_file import load_step_model
from pipeline.bundle import BUNDLE_NAME, write_bundle
from pipeline.stages import STOPS

EXPERIMENT, MODEL, DEVICE = "Experiments", "Models", "On a device, this machine included"

COMMANDS: dict[str, CommandEntry] = {
    "run": CommandEntry(
        "pipeline.cli.run", EXPERIMENT, "Train, convert, verify, measure: a recipe."
    ),
    "zoo": CommandEntry("pipeline.cli.zoo_command", EXPERIMENT, "List the cells and the tasks."),
    "techniques": CommandEntry(
        "pipeline.cli.techniques_command", EXPERIMENT, "Write the table of all techniques."
    ),
    "convert": CommandEntry(
        "pipeline.convert_command.convert_command", MODEL, "Make a step model of a trained model."
    ),
    "check": CommandEntry(
        "pipeline.target_commands.check", MODEL, "Tell whether a model fits a target."
    ),
    "export-c": CommandEntry(
        "pipeline.target_commands.export_c_command", MODEL, "Write C code for a microcontroller."
    ),
    "export-onnx": CommandEntry(
        "pipeline.cli.export_onnx_command", MODEL, "Write a float32 step model as ONNX."
    ),
    "compile-edgetpu": CommandEntry(
        "pipeline.target_commands.compile_edgetpu", MODEL, "Compile an int8 step model for a Coral."
    ),
    "restore-contract": CommandEntry(
        "pipeline.cli.restore_contract_command", MODEL, "Repair what edgetpu_compiler wrote."
    ),
    **{name: entry._replace(section=DEVICE) for name, entry in DEVICE_COMMANDS.items()},
    "bench": CommandEntry(
        "pipeline.remote.command.bench", DEVICE, "Measure what one step costs, here or over ssh."
    ),
    "device": CommandEntry(
        "pipeline.cli.device_group", DEVICE, "The program that goes onto a device."
    ),
}


@click.group(
    cls=CommandGroup,
    entries=COMMANDS,
    interrupted="Interrupted: finished stages are kept; run the same command to go on.",
    context_settings=HELP_NAMES,
)
@click.version_option(package_name="edgestep")
def main() -> None:
    """Recurrent networks on small devices: from training to a measured int8 step."""


@click.group("device")
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


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--runs-dir", type=click.Path(file_okay=False, path_type=Path), default="runs",
              show_default=True, help="Folder that holds a folder per recipe.")  # fmt: skip
@click.option("--until", type=click.Choice(STOPS), default=STOPS[-1],
              show_default=True, help="Stop after this stage.")  # fmt: skip
@click.option("--again", type=click.Choice(STOPS), multiple=True,
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


@click.command("zoo")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def zoo_command(as_json: bool) -> None:
    """List every cell, every way to stack them and every task, with source and purpose."""
    from models.tensorflow_log import load_tensorflow
    from pipeline import zoo

    load_tensorflow()
    cells, stacks, tasks = zoo.cells(), zoo.stacks(), zoo.tasks()
    if as_json:
        click.echo(json.dumps({"cells": cells, "stacks": stacks, "tasks": tasks}))
        return
    click.echo(f"cells (parameters of {zoo.UNITS} units on {zoo.INPUTS} inputs)")
    for cell in cells:
        click.echo(
            f"  {cell['cell']:20}{cell['parameters']:>8,}  {cell['source']}: {cell['purpose']}"
        )
    click.echo(f"stacks (parameters of GRUs on {zoo.INPUTS} inputs)")
    for stack in stacks:
        click.echo(
            f"  {stack['stack']:20}{stack['parameters']:>8,}  {stack['source']}: "
            f"{stack['purpose']} ({stack['recipe']})"
        )
    click.echo("tasks")
    for task in tasks:
        click.echo(f"  {task['task']:20}{task['purpose']}")


@click.command("techniques")
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


@click.command("restore-contract")
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


@click.command("export-onnx")
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
