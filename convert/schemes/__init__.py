"""Quantization schemes: one file each, listed here."""

from __future__ import annotations

from convert.errors import UnknownSchemeError
from convert.schemes import float32, int8
from convert.schemes.scheme import Scheme

SCHEMES: dict[str, Scheme] = {module.SCHEME.name: module.SCHEME for module in (float32, int8)}


def get_scheme(name: str) -> Scheme:
    """A scheme by its name; UnknownSchemeError where there is none."""
    if name not in SCHEMES:
        raise UnknownSchemeError(name, SCHEMES)
    return SCHEMES[name]
