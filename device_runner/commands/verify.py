"""``verify``: whether a runtime here computes what the float model computed."""

from __future__ import annotations

import json
import sys

import click

from device_runner import strict_json
from device_runner.backends import AUTOMATIC, backend_module
from device_runner.backends.backend import LoadOptions
from device_runner.commands.options import backend_option, json_option, load_options
from device_runner.containment import contained, stepping
from device_runner.errors import (
    BadInputError,
    DeviceRunnerError,
    MissingRuntimeError,
    UnsupportedModelError,
)
from device_runner.opening import open_stream
from device_runner.printable import echo
from device_runner.verify import Verification, verify

# In place of the files: their names come later.
WAIT = "-"


@click.command("verify")
@click.argument("files", nargs=-1, required=True)
@backend_option
@load_options
@json_option
@contained
def verify_models(
    files: tuple[str, ...], backend: str, options: LoadOptions, as_json: bool
) -> None:
    """Step each model's golden sequences here and compare with the float model's outputs.

    With - in place of FILES, the runtime is imported first; then their names are read from standard
    input, a JSON string a line.
    """
    failed: DeviceRunnerError | None = None
    for file in _awaited(backend) if files == (WAIT,) else files:
        try:
            stream = open_stream(file, backend, options)
            with stepping(file):
                verification = verify(stream)
        except MissingRuntimeError:
            raise
        except DeviceRunnerError as error:
            # The other files are still worth knowing about.
            failed = failed or error
            if as_json:
                echo(json.dumps({"file": file, "failure": error.message, **_unsupported(error)}))
            elif len(files) > 1:
                echo(f"FAILED  {file}")
            continue
        if as_json:
            facts = {"file": file, "failure": verification.failure, **verification.to_json()}
            echo(json.dumps(facts, allow_nan=False))
        else:
            rows = stream.model.contract.rows
            echo(_line(file, verification, rows) + _not_taken(stream.backend.choice))
        if verification.failure and not failed:
            failed = verification.error(file)
    if failed:
        raise failed


def _unsupported(error: DeviceRunnerError) -> dict[str, str]:
    """Say why the backend does not take the file, if that is all that is wrong."""
    return {"unsupported": error.reason} if isinstance(error, UnsupportedModelError) else {}


def _awaited(backend: str) -> tuple[str, ...]:
    """Import the runtime, and then wait for the names of the files."""
    if backend != AUTOMATIC:
        backend_module(backend).probe()
    try:
        files = [strict_json.loads(line) for line in sys.stdin]
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadInputError(f"standard input is not one JSON string a line ({error})") from error
    if not all(isinstance(file, str) for file in files):
        raise BadInputError("standard input is not one JSON string a line")
    return tuple(files)


def _line(file: str, verification: Verification, rows: int) -> str:
    in_rows = f" in the worst of {rows} rows" if rows > 1 else ""
    return (
        f"{'FAILED' if verification.failure else 'ok':6}  {file}  "
        f"{verification.backend} {verification.backend_version}  "
        f"{verification.steps} steps{in_rows}, rms error {verification.rms:.3g}, "
        f"largest {verification.max_abs:.3g}, "
        f"same decision {verification.argmax_agreement:.1%}{_replayed(verification)}"
    )


def _not_taken(choice: str) -> str:
    """Say why a backend that comes before this one was not taken."""
    return f"; {choice}" if choice.startswith("not ") else ""


def _replayed(verification: Verification) -> str:
    """Say how it did on the seeded steps, if it can be compared there."""
    replay = verification.replay
    if replay is None:
        return ""
    if replay.same_bits:
        return f"; the recorded bits in {replay.steps} seeded steps"
    return f"; {replay.off:.1%} of values off in {replay.steps} seeded steps"
