"""What can go wrong with models and tasks; each error prints as one line."""

import difflib
from collections.abc import Iterable
from pathlib import Path

import click


class ModelsError(click.ClickException):
    """Base of all errors of this package. The message says what is wrong and what to do."""

    exit_code = 3


class UnknownNameError(ModelsError):
    """A cell, task or option that does not exist; the message suggests the nearest."""

    exit_code = 2

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        super().__init__(f"unknown {kind} '{name}'{hint} There are: {', '.join(names) or 'none'}")


class MissingDataError(ModelsError):
    """A data set, or the package that brings it, is not there."""

    exit_code = 4


class DamagedCheckpointError(ModelsError):
    """A checkpoint that an interrupted training left cannot be used.

    Attributes:
        file: the checkpoint.
    """

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: the checkpoint cannot be read ({reason})")
        self.file = file


class DivergedError(ModelsError):
    """Training lost its numbers (NaN or infinity in the loss)."""
