"""What can go wrong on the way; each error prints as one line."""

import click


class PipelineError(click.ClickException):
    """Base class of all errors of this package. Each message says what is wrong and what to do."""

    exit_code = 3


class RecipeError(PipelineError):
    """The recipe is missing, is not TOML, or has an unknown or wrong entry."""

    exit_code = 2


class InventoryError(PipelineError):
    """A device is badly described, in the inventory or on the command line."""

    exit_code = 2


class DeviceError(PipelineError):
    """A device cannot be reached, lacks something, or its measurement failed.

    The exit code is 4 (missing runtime or device) unless the program on the device gave another.
    """

    exit_code = 4

    def __init__(self, message: str, exit_code: int = 4) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
