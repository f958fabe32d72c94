"""A scheme's name, parsed: ``int8``, ``int8:mse:per-channel``, ``int8:qat``.

A name is a scheme of :data:`convert.schemes.SCHEMES` and words after colons, in any order:

- ``min-max``, ``percentile``, ``mse``, ``entropy``: how a range is chosen from a roll-out
  (:mod:`calibration.methods`); by default ``min-max``. With ``qat``, training starts from this
  range, as in LSQ+ (Bhalgat et al. 2020).
- ``per-channel``: weights have one scale per output channel instead of one per matrix.
- ``compensated``: weights are rounded so that they make up for each other's errors
  (:mod:`convert.schemes.rounding`).
- ``qat``: the step graph was fine-tuned for the scheme before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calibration.methods import METHODS, MIN_MAX
from convert.errors import SchemeWordsError

PER_CHANNEL = "per-channel"
COMPENSATED = "compensated"
QAT = "qat"
RANGE_WORDS = frozenset(METHODS)
#: All words that any scheme knows.
WORDS = RANGE_WORDS | {PER_CHANNEL, COMPENSATED, QAT}


@dataclass(frozen=True)
class SchemeSpec:
    """A scheme with its words; ``str`` gives its name, with the words in a fixed order.

    :func:`convert.schemes.parse_scheme` parses a name, and knows which words a scheme has.

    Attributes:
        base: name of the scheme itself.
        range_method: how a range is chosen from a roll-out, a name in calibration.methods.METHODS.
        per_channel: whether weights have one scale per output channel instead of one per matrix.
        compensated: whether weights are rounded so that they make up for each other's errors.
        qat: whether the step graph is fine-tuned for the scheme before.

    Raises:
        SchemeWordsError: ``qat`` and ``compensated`` do not combine.

    Example:
        >>> str(SchemeSpec("int8", per_channel=True, range_method="mse"))
        'int8:mse:per-channel'
    """

    base: str
    range_method: str = MIN_MAX
    per_channel: bool = False
    compensated: bool = False
    qat: bool = False

    def __post_init__(self) -> None:
        if self.qat and self.compensated:
            raise SchemeWordsError(
                f"scheme '{self.base}': '{QAT}' and '{COMPENSATED}' do not combine, as training "
                "has made the weights fit for rounding to the nearest; leave one out"
            )

    def __str__(self) -> str:
        words = [
            QAT if self.qat else "",
            self.range_method if self.range_method != MIN_MAX else "",
            PER_CHANNEL if self.per_channel else "",
            COMPENSATED if self.compensated else "",
        ]
        return ":".join([self.base, *filter(None, words)])

    @property
    def file_part(self) -> str:
        """Return the name as part of a file name: ``int8-mse-per-channel``."""
        return str(self).replace(":", "-")


def spec_of_words(base: str, words: Sequence[str]) -> SchemeSpec:
    """Make the spec of a scheme from words that it knows.

    Raises:
        SchemeWordsError: a word is repeated, or two do not combine.
    """
    for word in words:
        if words.count(word) > 1:
            raise SchemeWordsError(f"scheme '{base}': '{word}' is said twice; leave one out")
    methods = [word for word in words if word in RANGE_WORDS]
    if len(methods) > 1:
        raise SchemeWordsError(
            f"scheme '{base}': '{methods[0]}' and '{methods[1]}' both choose the range; "
            "leave one out"
        )
    return SchemeSpec(
        base,
        methods[0] if methods else MIN_MAX,
        per_channel=PER_CHANNEL in words,
        compensated=COMPENSATED in words,
        qat=QAT in words,
    )
