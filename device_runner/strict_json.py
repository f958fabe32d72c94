"""JSON without NaN and infinity, which the standard does not know and no reader agrees on."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """Parse JSON that others may have written.

    Raises:
        ValueError: it is not JSON, holds a number that is not finite (NaN, Infinity, 1e999), or is
            nested too deeply.

    Example:
        >>> loads('{"scale": 0.5}')
        {'scale': 0.5}
        >>> loads('{"scale": NaN}')
        Traceback (most recent call last):
        ...
        ValueError: it holds NaN, which is not a number
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def finite(facts: Any) -> tuple[Any, list[str]]:
    """Replace numbers that are not finite by None.

    Args:
        facts: JSON-ready; it is not changed.

    Returns:
        A copy, and what was replaced, in words.

    Example:
        >>> finite({"rms": [0.5, float("nan")], "joules": float("inf")})
        ({'rms': [0.5, None], 'joules': None}, ['rms.1 is nan', 'joules is inf'])
    """
    replaced: list[str] = []

    def copied(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: copied(one, f"{place}.{key}") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [copied(one, f"{place}.{number}") for number, one in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            replaced.append(f"{place.removeprefix('.')} is {value}")
            return None
        return value

    return copied(facts, ""), replaced


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(text)
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"it holds {text[:20]}, which is not a number")
