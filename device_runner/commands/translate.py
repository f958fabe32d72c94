"""``translate``: lines of text by a translation model."""

from __future__ import annotations

import sys

import click

from device_runner.backends.backend import LoadOptions
from device_runner.commands.options import backend_option, load_options
from device_runner.containment import contained, end_with_the_reader
from device_runner.generation import generating_tokenizer, translate
from device_runner.opening import open_stream
from device_runner.printable import echo
from device_runner.sources import open_text


@click.command("translate")
@click.argument("file")
@click.argument("source", default="-")
@backend_option
@load_options
@click.option("--length", type=click.IntRange(1), default=200, show_default=True,
              help="Tokens of a translation at most.")  # fmt: skip
@contained
def translate_lines(
    file: str, source: str, backend: str, options: LoadOptions, length: int
) -> None:
    """Translate each line of SOURCE: text:FILE, or - for standard input."""
    stream = open_stream(file, backend, options)
    stream.model.require_one_row("translate")
    tokenizer = generating_tokenizer(stream.model)
    end_with_the_reader()
    with open_text(source) as lines:
        for line in lines:
            echo(translate(stream, tokenizer, line, length))
            sys.stdout.flush()
