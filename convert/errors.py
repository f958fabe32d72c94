"""What can go wrong in a conversion; each error prints as one line."""

import difflib
from collections.abc import Iterable

import click


class ConvertError(click.ClickException):
    """Base of all errors of this package. The message says what is wrong and what to do."""

    exit_code = 3


class UnsupportedLayerError(ConvertError):
    """A layer that cannot be stepped."""


class ContractViolationError(ConvertError):
    """The converted graph does not keep the step contract; a bug or an unsupported operator."""


class UnknownSchemeError(ConvertError):
    """A scheme, or an option of one, that does not exist; the message suggests the nearest."""

    exit_code = 2

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        super().__init__(f"unknown {kind} '{name}'{hint} There are: {', '.join(names) or 'none'}")
