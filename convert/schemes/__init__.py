"""Quantization schemes: one file each, listed here.

A scheme is named with its options behind colons, in any order: ``int8``, ``int8:mse``,
``int8:per-channel``, ``int8:percentile:per-channel``, ``int8:qat``.
"""

from __future__ import annotations

from dataclasses import replace

from convert.errors import UnknownSchemeError
from convert.schemes import dynamic, float16, float32, int8, int16x8
from convert.schemes.scheme import (
    COMPENSATED,
    PER_CHANNEL,
    QAT,
    FloatStep,
    Options,
    Scheme,
    ToleranceShare,
)

SCHEMES: dict[str, Scheme] = {
    module.SCHEME.name: module.SCHEME for module in (float32, float16, dynamic, int8, int16x8)
}


def get_scheme(name: str) -> tuple[Scheme, Options]:
    """A scheme and its options by name; UnknownSchemeError where either does not exist."""
    base, *words = name.split(":")
    if base not in SCHEMES:
        raise UnknownSchemeError("scheme", base, SCHEMES)
    scheme = SCHEMES[base]
    options = Options()
    for word in words:
        if word not in scheme.words:
            raise UnknownSchemeError(f"option of scheme '{base}'", word, scheme.words)
        if word == PER_CHANNEL:
            options = replace(options, per_channel=True)
        elif word == COMPENSATED:
            options = replace(options, compensated=True)
        elif word == QAT:
            options = replace(options, qat=True)
        else:
            options = replace(options, range_method=word)
    if options.qat and options.compensated:
        # Its weights are trained for rounding to the nearest already.
        raise UnknownSchemeError(f"option of scheme '{base}:{QAT}'", COMPENSATED, {PER_CHANNEL})
    return scheme, options


__all__ = ["SCHEMES", "FloatStep", "Options", "Scheme", "ToleranceShare", "get_scheme"]
