"""What can go wrong in calibration; each error prints as one line."""

import click


class CalibrationError(click.ClickException):
    """The roll-out cannot be done, or gives no usable ranges. The message says what to do."""

    exit_code = 3


def one_line(error: BaseException) -> str:
    """Return an error's text, or its type, without line breaks and cut to 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
