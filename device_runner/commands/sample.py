"""``sample``: text from a language model."""

from __future__ import annotations

import click

from device_runner.backends.backend import LoadOptions
from device_runner.commands.options import backend_option, load_options
from device_runner.containment import contained
from device_runner.generation import generate, generating_tokenizer
from device_runner.opening import open_stream
from device_runner.printable import echo


@click.command("sample")
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
def sample(
    file: str, backend: str, options: LoadOptions,
    length: int, temperature: float, prompt: str, seed: int,
) -> None:  # fmt: skip
    """Let a language model write text, after PROMPT."""
    stream = open_stream(file, backend, options)
    stream.model.require_one_row("sample")
    tokenizer = generating_tokenizer(stream.model)
    read = tokenizer.encode(prompt, verbatim=True).tolist()
    if tokenizer.end_id is not None:
        read = [tokenizer.end_id, *read]
    written = generate(stream, read, length, temperature, seed)
    echo(prompt + tokenizer.decode(written))
