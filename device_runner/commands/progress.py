"""Show on standard error how far a measurement is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import click

from device_runner.printable import echo

# A program that follows ours sets this to "lines".
PROGRESS_VARIABLE = "EDGESTEP_PROGRESS"


@contextlib.contextmanager
def show_progress(label: str) -> Iterator[Callable[[float], None]]:
    """Show a bar to a person, or lines if a program asked for them.

    Yields:
        A function that is told which share of the whole is done.
    """
    if os.environ.get(PROGRESS_VARIABLE) == "lines":
        yield _print_percents(label)
        return
    if not sys.stderr.isatty():  # the bar's own "hidden" came after click 8.1, which Debian 12 has
        yield lambda share: None
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        yield lambda share: bar.update(round(share * 1000) - bar.pos)


def _print_percents(label: str) -> Callable[[float], None]:
    """Print "LABEL: 40 %", a line for each percent at most."""
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        percent = int(share * 100)
        if percent > told:
            told = percent
            echo(f"{label}: {percent} %", err=True)

    return tell
