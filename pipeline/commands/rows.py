"""``edgestep rows``: step models that step several independent streams a call."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.errors import OptionError, VerificationError
from device_runner.model.step_file import load_step_model
from device_runner.output_file import OutputKind, check_not_source, check_replaceable
from device_runner.printable import echo


@click.command("rows")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rows", "-n", type=click.IntRange(2), required=True, metavar="N",
              help="Streams that a call steps.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write, of one FILE; default: FILE-rowsN.tflite.")  # fmt: skip
@force_option
def rows_command(files: tuple[Path, ...], rows: int, output: Path | None, force: bool) -> None:
    """Make a step model of each step model FILE that steps N independent streams a call.

    Every input, output and state gets N rows; no row knows another. Each row is held against the
    golden sequences, on every installed runtime.
    """
    if output is not None and len(files) > 1:
        raise OptionError("--output names one file; leave it out for several FILES")
    places = [output or file.with_name(f"{file.stem}-rows{rows}.tflite") for file in files]
    for file, place in zip(files, places, strict=True):
        check_not_source(place, file)
        check_replaceable(place, OutputKind.STEP_MODEL, force)
    from convert.rows import write_rows
    from convert.verify import objections, passed, verify_on_runtimes

    for file, place in zip(files, places, strict=True):
        model = write_rows(load_step_model(file), rows, place)
        echo(f"{place}: {model.file_bytes:,} bytes, {rows} rows, each proved on litert")
    found = verify_on_runtimes(places)
    for place in places:
        of_file = [one for one in found if one["file"] == place.name]
        echo(f"{place}: verified on {', '.join(passed(of_file)) or 'no runtime'}")
        for objection in objections(of_file):
            echo(f"  not on {objection}")
    failed = next((one for one in found if one["failure"]), None)
    if failed:
        raise VerificationError(f"{failed['file']}: {failed['backend']}: {failed['failure']}")
