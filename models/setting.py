"""Fields of settings: a default and the range that is allowed, declared once.

A settings class is a frozen dataclass whose fields come from :func:`setting` and whose
``__post_init__`` calls :func:`check_settings`. What reads settings from a file takes defaults and
ranges from the class (``dataclasses.fields``), and does not declare them again.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from models.errors import ModelsError

#: By a bound's name in a field's metadata (as in pydantic's Field): how people read it.
BOUNDS = {"gt": "above {:g}", "ge": "{:g} or more", "lt": "below {:g}", "le": "{:g} or less"}


def setting(
    default: Any = dataclasses.MISSING,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    """Declare a field of a settings class.

    Args:
        default: its value where none is given; left out, it must be given.
        gt, ge: the value is above this, or this or more.
        lt, le: the value is below this, or this or less.

    Returns:
        A dataclass field with the bounds, by their names here, in its metadata.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    metadata = {name: bound for name, bound in bounds.items() if bound is not None}
    return dataclasses.field(default=default, metadata=metadata)


def check_settings(settings: Any) -> None:
    """Hold the values of a settings object against the ranges of its fields; None always passes.

    Raises:
        ModelsError: a number is outside its range, NaN or infinite.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.metadata and value is not None and not _lies_within(value, field.metadata):
            wanted = " and ".join(BOUNDS[name].format(b) for name, b in field.metadata.items())
            raise ModelsError(f"{field.name} must be {wanted}, not {value}")


def _lies_within(value: float, bounds: Any) -> bool:
    return (
        math.isfinite(value)
        and value > bounds.get("gt", -math.inf)
        and value >= bounds.get("ge", -math.inf)
        and value < bounds.get("lt", math.inf)
        and value <= bounds.get("le", math.inf)
    )
