"""Quantization schemes: one file each, listed here.

A scheme is named with its options behind colons, in any order: ``int8``, ``int8:mse``,
``int8:per-channel``, ``int8:percentile:per-channel``.
"""

from __future__ import annotations

from calibration.methods import METHODS
from convert.errors import UnknownSchemeError
from convert.schemes import dynamic, float16, float32, int8, int16x8
from convert.schemes.scheme import FloatStep, Options, Scheme, ToleranceShare

SCHEMES: dict[str, Scheme] = {
    module.SCHEME.name: module.SCHEME for module in (float32, float16, dynamic, int8, int16x8)
}
PER_CHANNEL = "per-channel"


def get_scheme(name: str) -> tuple[Scheme, Options]:
    """A scheme and its options by name; UnknownSchemeError where either does not exist."""
    base, *words = name.split(":")
    if base not in SCHEMES:
        raise UnknownSchemeError("scheme", base, SCHEMES)
    scheme = SCHEMES[base]
    options = Options()
    known = [*(METHODS if scheme.needs_ranges else ()), *([PER_CHANNEL] if scheme.options else ())]
    for word in words:
        if word not in known:
            raise UnknownSchemeError(f"option of scheme '{base}'", word, known)
        if word == PER_CHANNEL:
            options = Options(options.range_method, per_channel=True)
        else:
            options = Options(word, options.per_channel)
    return scheme, options


__all__ = ["SCHEMES", "FloatStep", "Options", "Scheme", "ToleranceShare", "get_scheme"]
