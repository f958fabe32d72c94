"""What can go wrong on the way; each error prints as one line."""

import click


class PipelineError(click.ClickException):
    """Base of all errors of this package. The message says what is wrong and what to do."""

    exit_code = 3


class RecipeError(PipelineError):
    """The recipe is missing, no TOML, or has an unknown or wrong entry."""

    exit_code = 2
