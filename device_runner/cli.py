"""The on-device program: its commands are listed in device_runner/commands/__init__.py."""

from __future__ import annotations

import click

from device_runner.commands import COMMANDS
from device_runner.commands.group import HELP_NAMES, CommandGroup


@click.group(cls=CommandGroup, entries=COMMANDS, context_settings=HELP_NAMES)
def main() -> None:
    """Step recurrent TFLite models on this device and measure what a step costs."""
