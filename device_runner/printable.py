"""Text of unknown origin, made fit for a terminal: one line, no escape codes."""

from __future__ import annotations


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
