"""What can go wrong on a device: each error prints as one line and sets the exit code."""

from collections.abc import Iterable

import click


class DeviceRunnerError(click.ClickException):
    """Base class of all errors of this package. Each message says what is wrong and what to do."""

    exit_code = 1


class BadModelError(DeviceRunnerError):
    """The model file is missing, damaged, or does not fit its contract."""

    exit_code = 3


class UnsupportedModelError(BadModelError):
    """A sound model that a backend does not know everything of; another backend steps it.

    ``reason`` is why, without the file's name.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadInputError(DeviceRunnerError):
    """The data handed to a step has the wrong shape, dtype or values."""

    exit_code = 3


class NotFiniteError(BadInputError):
    """A step's outputs are not finite any more: the input, or the model, left float32's range."""


class MissingRuntimeError(DeviceRunnerError):
    """The chosen runtime, delegate or device is missing."""

    exit_code = 4


class UnknownBackendError(DeviceRunnerError):
    """A backend that does not exist; the message suggests the nearest."""

    exit_code = 2


class VerificationError(DeviceRunnerError):
    """The device's outputs differ from the float model's by more than the tolerance."""

    exit_code = 5


class OptionError(DeviceRunnerError):
    """An option is missing, or has a value that the backend does not take."""

    exit_code = 2


def one_line(error: Exception) -> str:
    """Return an error's text without line breaks, cut to 300 characters.

    Example:
        >>> one_line(ValueError("Node 3\\n  failed"))
        'Node 3 failed'
    """
    return " ".join(str(error).split())[:300]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End a message about an unknown name with the nearest known name, if one is near.

    Example:
        >>> "unknown backend 'liter'" + did_you_mean("liter", ["litert", "micro"])
        "unknown backend 'liter'; did you mean 'litert'?"
    """
    import difflib  # not at the top: the device program starts without it

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""
