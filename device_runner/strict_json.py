"""JSON that others may have written: without NaN and infinity, and not too much of it.

The standard does not know NaN and infinity, and no reader agrees on them. Python makes an object of
50 bytes and more of two characters, so what a text would make is counted first.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

# No file of ours has nearly as many values, lists and objects.
ITEM_LIMIT = 500_000


def loads(text: str | bytes) -> Any:
    """Parse JSON that others may have written.

    Raises:
        ValueError: it is not JSON, holds a number that is not finite (NaN, Infinity, 1e999), is
            nested too deeply, or holds more than ITEM_LIMIT values.

    Example:
        >>> loads('{"scale": 0.5}')
        {'scale': 0.5}
        >>> loads('{"scale": NaN}')
        Traceback (most recent call last):
        ...
        ValueError: it holds NaN, which is not a number
    """
    check_amount(text, ITEM_LIMIT)
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_amount(text: str | bytes, limit: int) -> None:
    """Raise ValueError if JSON holds more than so many values, lists and objects.

    Example:
        >>> check_amount("[[], []]", 2)
        Traceback (most recent call last):
        ...
        ValueError: it holds more than 2 values
    """
    if isinstance(text, bytes):
        count = text.count(b",") + text.count(b"[") + text.count(b"{")
    else:
        count = text.count(",") + text.count("[") + text.count("{")
    if count > limit:
        raise ValueError(f"it holds more than {limit:,} values")


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
