"""The on-device commands: doctor, inspect, verify, bench, stream, sample, translate."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from device_runner import doctor
from device_runner.backends import AUTOMATIC, BACKENDS
from device_runner.backends.backend import LoadOptions
from device_runner.containment import contained, loading, stepping
from device_runner.errors import (
    BadInputError,
    BadModelError,
    DeviceRunnerError,
    MissingRuntimeError,
    VerificationError,
)
from device_runner.front_ends.text import is_text
from device_runner.generation import generate, generating_tokenizer, tokenizer_of, translate
from device_runner.measure import benchmark as results
from device_runner.measure.latency import PERCENTILES, BenchSettings
from device_runner.measure.paced import PacedSettings
from device_runner.measure.result_log import append_result, check_appendable
from device_runner.measure.scheduling import scheduled
from device_runner.model import inspection
from device_runner.model.flatbuffer import read_graph
from device_runner.model.frames import StepValues
from device_runner.model.graph_drawing import draw_dot, draw_text, states_of
from device_runner.model.step_file import load_step_model, read_bytes
from device_runner.sources import open_source, open_text
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
# Set to "lines" by a program that follows ours.
PROGRESS_VARIABLE = "EDGESTEP_PROGRESS"


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
            if not error.filename:
                _drop_output()
            raise DeviceRunnerError(
                f"cannot write {place}: {error.strerror}; {DISK_ERRORS[error.errno]}"
            ) from error


def _drop_output() -> None:
    """Let what standard output still holds go nowhere: Python would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stdout.fileno()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), descriptor)


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
@click.option("--graph", metavar="FILE.dot|text",
              help="Draw the graph of any TFLite file, for Graphviz or as text.")  # fmt: skip
@json_option
def inspect(file: str, graph: str | None, as_json: bool) -> None:
    """Show a step model's signature, states, operators, sizes and metrics."""
    if graph is not None:
        _draw(file, graph)
        return
    model = load_step_model(file)
    facts = inspection.inspect_model(model)
    click.echo(
        json.dumps(facts, indent=1) if as_json else inspection.format_inspection(facts, model)
    )


def _draw(file: str, form: str) -> None:
    if form != "text" and not form.endswith(".dot"):
        raise click.BadParameter(f"'{form}' is neither 'text' nor the name of a .dot file")
    data = read_bytes(file)
    try:
        graph = read_graph(data)
        drawing = draw_text(graph) if form == "text" else draw_dot(graph)
    except BadModelError as error:
        raise BadModelError(f"{file}: {error.message}") from error
    if form == "text":
        click.echo(drawing)
        return
    Path(form).write_text(drawing, encoding="utf-8")
    click.echo(
        f"{form}: {len(graph.operators)} operators, {len(states_of(graph))} states; "
        f"draw it with Graphviz: dot -Tsvg -O {form}"
    )


@main.command("verify")
@click.argument("files", nargs=-1, required=True)
@backend_option
@load_options
@json_option
@contained
def verify_command(
    files: tuple[str, ...], backend: str, options: LoadOptions, as_json: bool
) -> None:
    """Step each model's golden sequences here and compare with the float model's outputs."""
    failed: DeviceRunnerError | None = None
    for file in files:
        try:
            stream = _open(file, backend, options)
            with stepping(file):
                verification = verify(stream)
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
@click.option("--paced", is_flag=True,
              help="One frame per frame period, sleeping between; models in turn.")  # fmt: skip
@click.option("--period", type=click.FloatRange(0, 3600, min_open=True),
              help="Paced: seconds between frames, if not the model's own.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, 7 * 86400, min_open=True),
              default=PacedSettings.duration_s, show_default=True,
              help="Paced: seconds that each model is measured.")  # fmt: skip
@click.option("--percentile", type=click.Choice([f"{value:g}" for value in PERCENTILES]),
              help="A percentile that you need: without enough samples, INVALID.")  # fmt: skip
@click.option("--cpu", "cpus", type=click.IntRange(0), multiple=True,
              help="Run on this CPU only; may be repeated.")  # fmt: skip
@click.option("--realtime", type=click.IntRange(1, 99), metavar="PRIORITY",
              help="Run at this real-time priority (SCHED_FIFO); needs the right to.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Append the results to this file, one JSON object per line.")  # fmt: skip
@click.option("--samples", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write every step's nanoseconds to FOLDER/MODEL.npy.")  # fmt: skip
@json_option
@contained
def bench(
    files: tuple[str, ...],
    backend: str,
    options: LoadOptions,
    steps: int,
    rounds: int,
    warmup: float,
    paced: bool,
    period: float | None,
    duration: float,
    percentile: str | None,
    cpus: tuple[int, ...],
    realtime: int | None,
    output: Path | None,
    samples: Path | None,
    as_json: bool,
) -> None:
    """Measure what one step of each model costs on this device.

    Back to back, models taking turns; or, with --paced, at the pace of real use. A result that
    must not be trusted is marked INVALID, with the reason, and makes the exit code 5.
    """
    circumstances = results.Circumstances(
        options.threads, cpus, realtime, None if percentile is None else float(percentile)
    )
    found: list[dict[str, Any]] = []

    def keep(measured: results.Measured) -> None:
        found.append(measured.result)
        if output:
            append_result(output, measured.result)
        if samples and measured.samples is not None:
            np.save(samples / Path(measured.result["file"]).with_suffix(".npy"), measured.samples)
        if as_json:
            click.echo(json.dumps(measured.result, allow_nan=False))

    if samples:
        samples.mkdir(parents=True, exist_ok=True)
    if output:
        check_appendable(output)
    with scheduled(cpus, realtime):
        streams = [_open(file, backend, options) for file in files]
        if paced:
            pace = PacedSettings(duration, period, keep_samples=samples is not None)
            for stream in streams:
                path = stream.model.path
                with _progress(path.name) as progress, stepping(path):
                    measured = results.bench_paced(stream, pace, circumstances, progress)
                keep(measured)
        else:
            settings = BenchSettings(steps, rounds, warmup, keep_samples=samples is not None)
            with _progress("measuring") as progress, stepping(", ".join(files)):
                everything = results.bench(streams, settings, circumstances, progress)
            for measured in everything:
                keep(measured)
    if not as_json:
        table = results.format_paced_results if paced else results.format_results
        click.echo(table(found))
    for stream, result in zip(streams, found, strict=True):
        if not result["valid"]:
            raise VerificationError(f"{stream.model.path}: {result['invalid_reason']}")


def _open(file: str, backend: str, options: LoadOptions) -> Stream:
    """A stream that has stepped once, from its beginning again."""
    model = load_step_model(file)
    with loading(file):
        stream = Stream(model, backend, options)
        stream.step_bytes(bytes(sum(spec.byte_count for spec in model.contract.inputs)))
        stream.reset()
    return stream


@contextlib.contextmanager
def _progress(label: str) -> Iterator[results.Progress]:
    """A bar on standard error, if a person sees it; lines, if a program asked for them."""
    if os.environ.get(PROGRESS_VARIABLE) == "lines":
        yield _progress_lines(label)
        return
    if not sys.stderr.isatty():  # the bar's own "hidden" came after click 8.1, which Debian 12 has
        yield lambda share: None
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        yield lambda share: bar.update(round(share * 1000) - bar.pos)


def _progress_lines(label: str) -> results.Progress:
    """Prints "LABEL: 40 %", a line for each percent at most."""
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        percent = int(share * 100)
        if percent > told:
            told = percent
            click.echo(f"{label}: {percent} %", err=True)

    return tell


@main.command("stream")
@click.argument("file")
@click.argument("source", default="-")
@backend_option
@load_options
@click.option("--each-token", is_flag=True,
              help="Models of text: print a decision after each token, not each line.")  # fmt: skip
@contained
def stream_command(
    file: str, source: str, backend: str, options: LoadOptions, each_token: bool
) -> None:
    """Step a model through the frames of SOURCE and print each decision.

    SOURCE is a CSV file or - for standard input (one frame a line; an empty line resets the
    state), serial:PORT[@BAUD] for CSV lines on a serial port, or, for models of sound, wav:FILE or
    mic. A line holds the values of all inputs one after another; of a model of tokens, one id.
    Printed after each frame: its number, the winning label and all outputs.

    Models of text read text:FILE, or lines of text on standard input: each line is a sequence of
    its own. Printed after each line (or token: its number in the line comes second) is the same.
    """
    stream = _open(file, backend, options)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if source.startswith("text:") or is_text(stream.model.contract.front_end):
        _stream_text(stream, source, each_token)
        return
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if frame is None:
                stream.reset()
                continue
            try:
                y = stream.step(frame)
            except BadInputError as error:
                raise BadInputError(f"line {number}: {error.message}") from error
            click.echo(f"{number},{_decision(stream, y)}")
            sys.stdout.flush()


def _stream_text(stream: Stream, source: str, each_token: bool) -> None:
    tokenizer = tokenizer_of(stream.model)
    with open_text(source) as lines:
        for number, line in enumerate(lines, 1):
            stream.reset()
            tokens = tokenizer.encode(line).tolist()
            for position, token in enumerate(tokens, 1):
                y = stream.step(token)
                if each_token:
                    click.echo(f"{number},{position},{_decision(stream, y)}")
                elif position == len(tokens):
                    click.echo(f"{number},{_decision(stream, y)}")
            sys.stdout.flush()


def _decision(stream: Stream, y: StepValues) -> str:
    """The winning label of the first output, and the values of all."""
    outputs = list(y.values()) if isinstance(y, dict) else [y]
    values = ",".join(f"{value:.6g}" for output in outputs for value in output.ravel())
    return f"{stream.model.labels[int(outputs[0].argmax(-1).ravel()[0])]},{values}"


@main.command("sample")
@click.argument("file")
@backend_option
@load_options
@click.option("--length", type=click.IntRange(1), default=300, show_default=True,
              help="Tokens to write.")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(0, 100), default=0.7, show_default=True,
              help="How bold to draw; 0 takes the likeliest token.")  # fmt: skip
@click.option("--prompt", default="", help="Text to go on from; default: the start of a line.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
              help="Of the draw.")  # fmt: skip
@contained
def sample_command(
    file: str, backend: str, options: LoadOptions,
    length: int, temperature: float, prompt: str, seed: int,
) -> None:  # fmt: skip
    """Let a language model write text, after PROMPT."""
    stream = _open(file, backend, options)
    tokenizer = generating_tokenizer(stream.model)
    read = tokenizer.encode(prompt, verbatim=True).tolist()
    if tokenizer.end_id is not None:
        read = [tokenizer.end_id, *read]
    written = generate(stream, read, length, temperature, seed)
    click.echo(prompt + tokenizer.decode(written))


@main.command("translate")
@click.argument("file")
@click.argument("source", default="-")
@backend_option
@load_options
@click.option("--length", type=click.IntRange(1), default=200, show_default=True,
              help="Tokens of a translation at most.")  # fmt: skip
@contained
def translate_command(
    file: str, source: str, backend: str, options: LoadOptions, length: int
) -> None:
    """Translate each line of SOURCE: text:FILE, or - for standard input."""
    stream = _open(file, backend, options)
    tokenizer = generating_tokenizer(stream.model)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with open_text(source) as lines:
        for line in lines:
            click.echo(translate(stream, tokenizer, line, length))
            sys.stdout.flush()
