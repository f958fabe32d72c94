"""``doctor``: which backends are usable."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from device_runner import doctor as backend_doctor
from device_runner.backends import BACKENDS
from device_runner.commands.options import json_option
from device_runner.errors import MissingRuntimeError
from device_runner.printable import echo


@click.command("doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Show which backends are usable on this machine, and what the others lack."""
    usable = False
    width = max(map(len, BACKENDS))
    for name in BACKENDS:
        diagnosis = backend_doctor.diagnose(name)
        usable |= diagnosis.usable
        if as_json:
            echo(json.dumps(asdict(diagnosis)))
        else:
            state = "usable" if diagnosis.usable else "-"
            echo(f"{name:{width}}  {state:6}  {diagnosis.finding}")
    if not usable:
        raise MissingRuntimeError(
            "no backend is usable here; begin with 'pip install ai-edge-litert'"
        )
