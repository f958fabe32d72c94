"""What can go wrong in a conversion; each error prints as one line."""

import click

from models.errors import UnknownNameError


class ConvertError(click.ClickException):
    """Base class of all errors of this package. Each message says what is wrong and what to do."""

    exit_code = 3


class UnsupportedLayerError(ConvertError):
    """A layer or operator cannot be stepped or simulated."""


class WindowOptionError(ConvertError):
    """What is wanted of a model's window contradicts itself or the model."""

    exit_code = 2


class SourceModelError(ConvertError):
    """The model to import is missing, damaged, unsafe to read, or not what it claims to be."""


class ContractViolationError(ConvertError):
    """The converted graph breaks the step contract; a bug or an unsupported operator."""


class NotExportableError(ConvertError):
    """A step model contains something that the other format cannot express."""


class UnknownSchemeError(UnknownNameError):
    """There is no such scheme, or no such word in it; the message suggests the nearest."""


class SchemeWordsError(ConvertError):
    """The words of a scheme contradict each other."""

    exit_code = 2


class UnknownLayerError(UnknownNameError):
    """The step has no such layer; the message suggests the nearest."""


class UnknownTargetError(UnknownNameError):
    """There is no such target; the message suggests the nearest."""


class UnknownRuntimeError(UnknownNameError):
    """There is no table of this runtime's operators; the message suggests the nearest."""


class TargetMismatchError(ConvertError):
    """The model does not fit the target."""

    exit_code = 5
