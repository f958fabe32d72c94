"""Quantization schemes: one file each, listed here.

The list holds names of modules, so that reading it loads none of them. A scheme's name may have
words after colons (:mod:`convert.schemes.spec`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, cast

from convert.errors import UnknownSchemeError
from convert.schemes.spec import SchemeSpec, spec_of_words

if TYPE_CHECKING:
    from calibration.ranges import Ranges
    from convert.schemes.mixed import FloatParts
    from convert.schemes.scheme import FloatStep, Scheme


class SchemeEntry(NamedTuple):
    """A scheme in the list.

    Attributes:
        module: the module within this package that holds its ``SCHEME``.
        source: where it comes from, in a few words.
        purpose: what it is for, in a few words.
    """

    module: str
    source: str
    purpose: str


SCHEMES: dict[str, SchemeEntry] = {
    "float32": SchemeEntry("float32", "the step graph as it was trained", "reference"),
    "float16": SchemeEntry("float16", "IEEE 754 binary16", "half the file, computed in float32"),
    "dynamic": SchemeEntry(
        "dynamic",
        "TFLite's dynamic range quantization",
        "a quarter of the weights' bytes, the state as in float, no calibration",
    ),
    "int8": SchemeEntry(
        "int8",
        "Jacob et al. 2018",
        "a quarter of the weights' bytes; fastest on most processors, not on all",
    ),
    "int16x8": SchemeEntry(
        "int16x8", "TFLite's 16x8 quantization", "long memories; slow on most processors"
    ),
}


def parse_scheme(name: str) -> SchemeSpec:
    """Parse a scheme's name, such as "int8:mse:per-channel".

    Raises:
        UnknownSchemeError: there is no such scheme, or it has no such word.
        SchemeWordsError: a word is repeated, or two do not combine.

    Example:
        >>> parse_scheme("int8:per-channel:mse")
        SchemeSpec(base='int8', range_method='mse', per_channel=True, compensated=False, qat=False)
    """
    base, *words = name.split(":")
    known = load_scheme(base).words
    for word in words:
        if word not in known:
            raise UnknownSchemeError(f"option of scheme '{base}'", word, known)
    return spec_of_words(base, words)


def load_scheme(base: str) -> Scheme:
    """Load a scheme by its name in SCHEMES; UnknownSchemeError if there is none."""
    if base not in SCHEMES:
        raise UnknownSchemeError("scheme", base, SCHEMES)
    module = importlib.import_module(f"convert.schemes.{SCHEMES[base].module}")
    return cast("Scheme", module.SCHEME)


def needs_ranges(spec: SchemeSpec) -> bool:
    """Tell whether a scheme needs a calibrated step graph."""
    return spec.compensated or load_scheme(spec.base).needs_ranges


def parts_in_float(spec: SchemeSpec, step: FloatStep) -> FloatParts:
    """Find what stays in float32 in an integer scheme; nothing in others, which are float."""
    from convert.schemes.mixed import FORMS, FloatParts, float_parts
    from device_runner.model.flatbuffer import read_graph

    bits = {f"int{bits}": bits for bits in FORMS}.get(load_scheme(spec.base).state_dtype)
    return float_parts(read_graph(step.flatbuffer), step, bits) if bits else FloatParts()


def apply_scheme(spec: SchemeSpec, step: FloatStep, ranges: Ranges | None = None) -> bytes:
    """Convert a step graph to a scheme and return the flatbuffer.

    Args:
        step: the float32 step graph.
        ranges: ranges calibrated on ``step``, if :func:`needs_ranges` says so.

    Raises:
        ContractViolationError: the scheme cannot store the step graph, or ranges are missing.
    """
    return load_scheme(spec.base).apply(step, ranges, spec)
