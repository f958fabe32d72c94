"""The on-device commands: doctor, inspect, verify, bench, stream."""

from __future__ import annotations

import errno
import functools
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from device_runner import doctor, inspection, results
from device_runner.backends import AUTOMATIC, BACKENDS
from device_runner.backends.backend import LoadOptions
from device_runner.contract import load_step_model
from device_runner.errors import (
    BadInputError,
    DeviceRunnerError,
    MissingRuntimeError,
    VerificationError,
)
from device_runner.latency import BenchSettings
from device_runner.stream import Stream
from device_runner.verify import verify

DISK_ERRORS = {
    errno.ENOSPC: "free space there or choose another folder",
    errno.EDQUOT: "free space there or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that is not read-only",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.ENOENT: "make its folder first or choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "a file is in the way; choose another folder",
}
INTERRUPTED_EXIT_CODE = 130


class CommandGroup(click.Group):
    """A click group that answers mistakes, full disks and Ctrl-C in one line each."""

    #: What Ctrl-C is answered with.
    interrupted = "Interrupted: nothing was written; run the command again."

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(self.interrupted, err=True)
            ctx.exit(INTERRUPTED_EXIT_CODE)
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            place = error.filename or "the output"
            raise DeviceRunnerError(
                f"cannot write {place}: {error.strerror}; {DISK_ERRORS[error.errno]}"
            ) from error


backend_option = click.option(
    "--backend", default=AUTOMATIC, show_default=True,
    help=f"Runtime: {', '.join(BACKENDS)}, or auto for the first installed.",
)  # fmt: skip


def load_options(command: Callable) -> Callable:
    """The options that say how a runtime loads a model; the command gets ``options``."""

    @click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True,
                  help="Threads the runtime may use for one step.")  # fmt: skip
    @click.option("--delegate", metavar="PATH",
                  help="Delegate's shared library, for the backend external-delegate.")  # fmt: skip
    @click.option("--delegate-option", "delegate_options", metavar="KEY=VALUE", multiple=True,
                  callback=_pairs, help="Handed to the delegate; may be given again.")  # fmt: skip
    @click.option("--device", metavar="NAME",
                  help="One of several accelerators, as the backend names them.")  # fmt: skip
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        threads: int,
        delegate: str | None,
        delegate_options: dict[str, str],
        device: str | None,
        **kwargs: Any,
    ) -> Any:
        options = LoadOptions(threads, delegate, delegate_options, device)
        return command(*args, options=options, **kwargs)

    return wrapped


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, separator, setting = value.partition("=")
        if not key or not separator:
            raise click.BadParameter(f"'{value}' is not of the form KEY=VALUE")
        pairs[key] = setting
    return pairs


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Step recurrent TFLite models on this device and measure what a step costs."""


@main.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """Show which backends are usable on this machine, and what the others lack."""
    usable = False
    for name in BACKENDS:
        diagnosis = doctor.diagnose(name)
        usable |= diagnosis.usable
        if as_json:
            click.echo(json.dumps(asdict(diagnosis)))
        else:
            state = "usable" if diagnosis.usable else "-"
            click.echo(f"{name:17}  {state:6}  {diagnosis.finding}")
    if not usable:
        raise MissingRuntimeError(
            "no backend is usable here; begin with 'pip install ai-edge-litert'"
        )


@main.command()
@click.argument("file")
@json_option
def inspect(file: str, as_json: bool) -> None:
    """Show a step model's signature, states, operators, sizes and metrics."""
    model = load_step_model(file)
    facts = inspection.inspect_model(model)
    click.echo(
        json.dumps(facts, indent=1) if as_json else inspection.format_inspection(facts, model)
    )


@main.command("verify")
@click.argument("files", nargs=-1, required=True)
@backend_option
@load_options
@json_option
def verify_command(
    files: tuple[str, ...], backend: str, options: LoadOptions, as_json: bool
) -> None:
    """Step each model's golden sequences here and compare with the float model's outputs."""
    failed: DeviceRunnerError | None = None
    for file in files:
        try:
            verification = verify(Stream(file, backend, options))
        except MissingRuntimeError:
            raise
        except DeviceRunnerError as error:
            # The other files are still worth knowing about.
            failed = failed or error
            if as_json:
                click.echo(json.dumps({"file": file, "failure": error.message}))
            elif len(files) > 1:
                click.echo(f"FAILED  {file}")
            continue
        if as_json:
            facts = {"file": file, "failure": verification.failure, **asdict(verification)}
            click.echo(json.dumps(results.finite(facts), allow_nan=False))
        else:
            click.echo(
                f"{'FAILED' if verification.failure else 'ok':6}  {file}  "
                f"{verification.backend} {verification.backend_version}  "
                f"{verification.steps} steps, rms error {verification.rms:.3g}, "
                f"largest {verification.max_abs:.3g}, "
                f"same decision {verification.argmax_agreement:.1%}"
            )
        if verification.failure and not failed:
            failed = verification.error(file)
    if failed:
        raise failed


@main.command()
@click.argument("files", nargs=-1, required=True)
@backend_option
@load_options
@click.option("--steps", type=click.IntRange(100), default=BenchSettings.steps, show_default=True,
              help="Timed steps of each model; p99.9 needs 10,000.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=BenchSettings.rounds, show_default=True,
              help="Rounds in which the models take turns.")  # fmt: skip
@click.option("--warmup", type=click.FloatRange(0, 60), default=BenchSettings.warmup_s,
              show_default=True, help="Untimed run-up of each model, in seconds.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Append the results to this file, one JSON object per line.")  # fmt: skip
@json_option
def bench(
    files: tuple[str, ...],
    backend: str,
    options: LoadOptions,
    steps: int,
    rounds: int,
    warmup: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure what one step of each model costs on this device, models interleaved."""
    streams = [Stream(file, backend, options) for file in files]
    with output.open("a") if output else open("/dev/null", "w") as sink:
        measured = results.bench(streams, BenchSettings(steps, rounds, warmup), options.threads)
        lines = [json.dumps(result, allow_nan=False) for result in measured]
        click.echo("\n".join(lines) if as_json else results.format_results(measured))
        sink.writelines(line + "\n" for line in lines)
    for stream, result in zip(streams, measured, strict=True):
        if not result["valid"]:
            raise VerificationError(f"{stream.model.path}: {result['invalid_reason']}")


@main.command("stream")
@click.argument("file")
@click.argument("source", type=click.File("r"), default="-")
@backend_option
@load_options
def stream_command(file: str, source: IO[str], backend: str, options: LoadOptions) -> None:
    """Step a model through CSV lines of SOURCE (default: standard input), one frame a line.

    Prints after each frame: the line's number, the winning label and all outputs.
    An empty line resets the state.
    """
    stream = Stream(file, backend, options)
    labels = stream.model.labels
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for number, frame in _frames(source):
        if frame is None:
            stream.reset()
            continue
        try:
            y = stream.step(frame)
        except BadInputError as error:
            raise BadInputError(f"line {number}: {error.message}") from error
        values = ",".join(f"{value:.6g}" for value in y)
        click.echo(f"{number},{labels[int(np.argmax(y))]},{values}")
        sys.stdout.flush()


def _lines(source: IO[str]) -> Iterator[str]:
    try:
        yield from source
    except UnicodeDecodeError as error:
        raise BadInputError(f"the source is not text ({error}); it must be CSV") from error


def _frames(source: IO[str]) -> Iterator[tuple[int, np.ndarray | None]]:
    for number, line in enumerate(_lines(source), 1):
        if not line.strip():
            yield number, None
            continue
        try:
            yield number, np.array([float(cell) for cell in line.split(",")], np.float64)
        except ValueError as error:
            raise BadInputError(
                f"line {number}: {error}; each line is numbers and commas"
            ) from error
