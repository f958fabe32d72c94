"""Text of unknown origin, made fit for a terminal: no escape codes, and names in one line."""

from __future__ import annotations

import re

import click

# Control characters but tab and line feed, separators of lines and paragraphs, what changes the
# direction of writing, and bytes of file names that are not UTF-8. Other invisible characters
# belong to some languages' texts.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def echo(text: object, err: bool = False) -> None:
    """Print lines of text that may quote a file, a device or a recipe.

    Args:
        text: any text; other objects are turned into text.
        err: whether it goes to standard error.
    """
    click.echo(without_controls(str(text)), err=err)


def without_controls(text: str) -> str:
    """Replace what moves a terminal's cursor, colors it or reverses its text, but keep the lines.

    Example:
        >>> without_controls("gru\\x1b[2J\\nlstm")
        'gru?[2J\\nlstm'
    """
    return _CONTROLS.sub("?", text)


def printable(text: object, limit: int = 2000) -> str:
    """Return text in one line in which every character can be printed.

    Names in a model's file, a device's messages and a user's recipe may hold escape codes that
    move the cursor, recolor or reverse what stands around them.

    Args:
        text: any text; other objects are turned into text.
        limit: how many characters to keep.

    Example:
        >>> printable("gru\\x1b[2J\\nWARNING")
        'gru?[2J WARNING'
    """
    words = " ".join(str(text)[: 4 * limit].split())
    shown = "".join(c if c.isprintable() else "?" for c in words)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
