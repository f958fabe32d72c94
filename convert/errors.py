"""What can go wrong in a conversion; each error prints as one line."""

import click

from models.errors import UnknownNameError


class ConvertError(click.ClickException):
    """Base of all errors of this package. The message says what is wrong and what to do."""

    exit_code = 3


class UnsupportedLayerError(ConvertError):
    """A layer or operator cannot be stepped or simulated."""


class SourceModelError(ConvertError):
    """A model to be imported is missing, damaged, unsafe to read, or not what it claims to be."""


class ContractViolationError(ConvertError):
    """The converted graph breaks the step contract; a bug or an unsupported operator."""


class NotExportableError(ConvertError):
    """A step model holds something that the other format cannot express."""


class UnknownSchemeError(UnknownNameError):
    """A scheme, or a word of one, does not exist; the message suggests the nearest."""


class SchemeWordsError(ConvertError):
    """Words of a scheme do not combine."""

    exit_code = 2


class UnknownTargetError(UnknownNameError):
    """A target does not exist; the message suggests the nearest."""


class UnknownRuntimeError(UnknownNameError):
    """The operators of a runtime are not known here; the message suggests the nearest."""


class TargetMismatchError(ConvertError):
    """The model does not fit the target."""

    exit_code = 5
