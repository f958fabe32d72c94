"""The ``edgestep`` command."""

from __future__ import annotations

import click

from device_runner.commands.group import HELP_NAMES, CommandGroup
from pipeline.commands import COMMANDS


@click.group(
    cls=CommandGroup,
    entries=COMMANDS,
    interrupted="Interrupted: finished stages are kept; run the same command to go on.",
    context_settings=HELP_NAMES,
)
@click.version_option(package_name="edgestep")
def main() -> None:
    """Recurrent networks on small devices: from training to a measured int8 step."""
