"""What can go wrong in calibration; each error prints as one line."""

import click


class CalibrationError(click.ClickException):
    """The roll-out cannot be done, or gives no usable ranges. The message says what to do."""

    exit_code = 3
