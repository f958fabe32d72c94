"""``edgestep check``, ``compile-edgetpu`` and ``export-c``: a model and a target."""

from __future__ import annotations

import json
from pathlib import Path

import click

from convert.targets import target_names
from device_runner.commands.options import force_option
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_not_source, check_replaceable
from device_runner.printable import echo


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", metavar="TARGET", required=True, help=f"{target_names()}.")
@click.option("--runtime", metavar="NAME[==VERSION]",
              help="The runtime that is to load the file, as tflite-runtime==2.14.0.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def check(file: Path, target: str, runtime: str | None, as_json: bool) -> None:
    """Show operator by operator what of FILE maps onto a target, and why the rest does not.

    FILE is any TFLite file; nothing is run. The exit code is 0 where the whole graph maps, 5 where
    it does not, 3 where the file is damaged.
    """
    from convert.targets.check import check_file
    from convert.targets.report import format_report

    report = check_file(file, target, runtime)
    echo(json.dumps(report.to_json(), indent=1) if as_json else format_report(report))
    if not report.fits:
        raise report.error()


@click.command("compile-edgetpu")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write; default: FILE with _edgetpu in its name.")  # fmt: skip
@click.option("--min-runtime", type=click.IntRange(10), metavar="N",
              help="The oldest Edge TPU runtime that must load the result.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@force_option
def compile_edgetpu(
    file: Path, output: Path | None, min_runtime: int | None, as_json: bool, force: bool
) -> None:
    """Compile the int8 step model FILE with edgetpu_compiler, and keep its contract.

    Shows which operators the compiler put onto the Edge TPU. Where the compiler is not on PATH,
    says what to run on a machine that has it.
    """
    from convert.exporters.edgetpu_compiler import compile_for_edgetpu
    from convert.targets.check import check_file
    from convert.targets.report import format_report

    model = load_step_model(file)
    static = check_file(file, "edgetpu")
    if static.problems or not any(one.status == "maps" for one in static.operators):
        raise static.error()
    output = output or file.with_name(f"{file.stem}_edgetpu.tflite")
    check_not_source(output, file)
    check_replaceable(output, OutputKind.STEP_MODEL, force)
    compiled, report = compile_for_edgetpu(model, output, min_runtime)
    echo(json.dumps(report.to_json(), indent=1) if as_json else format_report(report))
    if not as_json:
        echo(f"{compiled.path}: {compiled.file_bytes:,} bytes")


@click.command("export-c")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--runtime", type=click.Choice(["micro", "none"]), default="micro",
              show_default=True, help="TensorFlow Lite Micro, or nothing.")  # fmt: skip
@click.option("--layout", type=click.Choice(["plain", "arduino", "esp-idf"]), default="plain",
              show_default=True,
              help="Without a runtime: files, an Arduino library, an ESP-IDF one.")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=".",
              show_default=True, help="The folder to write into.")  # fmt: skip
@click.option("--prefix", metavar="NAME", help="What all names in C begin with; default: FILE's.")
@force_option
def export_c_command(
    file: Path, runtime: str, layout: str, output: Path, prefix: str | None, force: bool
) -> None:
    """Write the step model FILE as C for a microcontroller.

    With --runtime none: constants, the kernels it uses and one call a step, in C99 with static
    memory. All names begin with edgestep_NAME.

    With --runtime micro: the model as an array, the state loop in plain C, and an example that
    binds both to TensorFlow Lite Micro. The memory it needs is measured, and its results are
    checked, with tflite-micro.
    """
    if runtime == "none":
        _export_firmware(file, layout, output, prefix, force)
        return
    if layout != "plain":
        raise click.UsageError(f"--layout {layout} is for --runtime none")
    from convert.exporters.c import export_c

    written = export_c(load_step_model(file), output, prefix, force)
    measured = written.measured
    _show_sizes(written.files)
    echo(
        f"arena {measured.arena_bytes:,} bytes; {measured.steps} steps on tflite-micro "
        f"{measured.version}, rms error {measured.rms:.3g}"
    )


def _export_firmware(
    file: Path, layout: str, output: Path, prefix: str | None, force: bool
) -> None:
    from convert.exporters.firmware.layouts import export_firmware

    written = export_firmware(load_step_model(file), output, layout, prefix, force)
    source = written.source
    _show_sizes(written.files)
    echo(
        f"constants {source.constant_bytes:,} bytes, a stream {source.block_bytes:,} bytes of "
        f"values; {source.name}_step"
    )


def _show_sizes(files: tuple[Path, ...]) -> None:
    for path in files:
        echo(f"{path}: {path.stat().st_size:,} bytes")
