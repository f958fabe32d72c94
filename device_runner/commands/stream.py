"""``stream``: a decision after each frame of a source."""

from __future__ import annotations

import sys

import click

from device_runner.backends.backend import LoadOptions
from device_runner.commands.options import backend_option, load_options
from device_runner.containment import contained, end_with_the_reader
from device_runner.errors import BadInputError
from device_runner.front_ends import is_text
from device_runner.generation import tokenizer_of
from device_runner.model.frames import StepValues
from device_runner.opening import open_stream
from device_runner.printable import echo, without_controls
from device_runner.sources import open_source, open_text
from device_runner.stream import Stream
from device_runner.transcription import (
    TRANSCRIPT,
    GreedyDecoder,
    PrefixBeamDecoder,
    words_of,
)


@click.command("stream")
@click.argument("file")
@click.argument("source", default="-")
@backend_option
@load_options
@click.option("--each-token", is_flag=True,
              help="Models of text: print a decision after each token, not each line.")  # fmt: skip
@click.option("--beam", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Models of transcripts: how many transcripts are weighed; 1: the likeliest "
                   "label of each frame.")  # fmt: skip
@contained
def stream_frames(
    file: str, source: str, backend: str, options: LoadOptions, each_token: bool, beam: int
) -> None:
    """Step a model through the frames of SOURCE and print each decision.

    SOURCE is a CSV file or - for standard input (one frame a line; an empty line resets the
    state), serial:PORT[@BAUD] for CSV lines on a serial port, or, for models of sound, wav:FILE or
    mic. A line holds the values of all inputs one after another; of a model of tokens, one id.
    Where several samples of a sensor make a frame, a line may hold one of them.
    Printed after each frame: its number, the winning label and all outputs. A model that answers
    for its last frames prints answers only.

    Of models of transcripts, such as of speech, a line is printed whenever the transcript changes:
    the frame's number and the words so far.

    Models of text read text:FILE, or lines of text on standard input: each line is a sequence of
    its own. Printed after each line (or token: its number in the line comes second) is the same.
    """
    stream = open_stream(file, backend, options)
    stream.model.require_one_row("stream")
    end_with_the_reader()
    if source.startswith("text:") or is_text(stream.model.contract.front_end):
        _stream_text(stream, source, each_token)
        return
    if stream.model.contract.output_meaning == TRANSCRIPT:
        _stream_transcript(stream, source, beam)
        return
    said, taken = False, 0
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if frame is None:
                stream.reset()
                continue
            try:
                y = stream.step(frame)
            except BadInputError as error:
                raise BadInputError(f"line {number}: {error.message}") from error
            taken += 1
            if stream.answered:
                said = True
                echo(f"{number},{_decision(stream, y)}")
                sys.stdout.flush()
    if not said:
        _tell_no_answer(stream, "the input ended", taken)


def _stream_transcript(stream: Stream, source: str, beam: int) -> None:
    decoder = PrefixBeamDecoder(beam) if beam > 1 else GreedyDecoder()
    said: list[int] = []
    with open_source(source, stream.model.contract) as frames:
        for number, frame in frames:
            if frame is None:
                stream.reset()
                decoder.reset()
                said = []
                continue
            try:
                y = stream.step(frame)
            except BadInputError as error:
                raise BadInputError(f"line {number}: {error.message}") from error
            found = decoder.step(next(iter(y.values())) if isinstance(y, dict) else y)
            if found != said:
                said = found
                echo(f"{number},{without_controls(words_of(stream.model, found))}")
                sys.stdout.flush()


def _stream_text(stream: Stream, source: str, each_token: bool) -> None:
    tokenizer = tokenizer_of(stream.model)
    with open_text(source) as lines:
        for number, line in enumerate(lines, 1):
            stream.reset()
            tokens = tokenizer.encode(line).tolist()
            answer: StepValues | None = None
            for position, token in enumerate(tokens, 1):
                y = stream.step(token)
                if not stream.answered:
                    continue
                answer = y
                if each_token:
                    echo(f"{number},{position},{_decision(stream, y)}")
            if answer is None:
                _tell_no_answer(stream, f"line {number} ended", len(tokens))
            elif not each_token:
                echo(f"{number},{_decision(stream, answer)}")
            sys.stdout.flush()


def _tell_no_answer(stream: Stream, what: str, frames: int) -> None:
    """Say on standard error that an input was shorter than the model's window."""
    window = stream.model.contract.window
    if window is not None:
        echo(
            f"{what} after {frames} frames, without an answer: the model answers for the last "
            f"{window.steps} frames, so first at the frame {window.steps} after a reset",
            err=True,
        )


def _decision(stream: Stream, y: StepValues) -> str:
    """The winning label of the first output, and the values of all."""
    outputs = list(y.values()) if isinstance(y, dict) else [y]
    values = ",".join(f"{value:.6g}" for output in outputs for value in output.ravel())
    label = without_controls(stream.model.labels[int(outputs[0].argmax(-1).ravel()[0])])
    if "," in label or '"' in label:  # as CSV wants it
        label = '"' + label.replace('"', '""') + '"'
    return f"{label},{values}"
