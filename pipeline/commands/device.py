"""``edgestep device``: the program that goes onto the device."""

from __future__ import annotations

from pathlib import Path

import click

from device_runner.commands.options import force_option
from device_runner.output_file import OutputKind, check_replaceable
from device_runner.printable import echo
from pipeline.bundle import BUNDLE_NAME, write_bundle


@click.group("device")
def device_group() -> None:
    """The program that goes onto the device."""


@device_group.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=BUNDLE_NAME,
              show_default=True, help="The file to write.")  # fmt: skip
@force_option
def bundle(output: Path, force: bool) -> None:
    """Write the on-device program as one file, to be copied to a device.

    It needs Python 3.10 or newer there, numpy, click and one runtime.
    """
    check_replaceable(output, OutputKind.PROGRAM, force)
    write_bundle(output)
    echo(f"{output}: {output.stat().st_size:,} bytes; run it with 'python3 {output.name}'")
