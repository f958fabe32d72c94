"""Names in a step graph that tell which layer computes an operator, and whether it must be float.

The converter keeps name scopes in the names of tensors. An operator that it fuses has the names of
all its parts; the first is its own.
"""

from __future__ import annotations

import re

FLOAT_SCOPE = "in_float"
_LAYER = re.compile(r"layer(\d+)(_\d+)?/")
_FLOAT = re.compile(rf"(^|/){FLOAT_SCOPE}(_\d+)?/")


def layer_scope(number: int) -> str:
    """Return the name scope of a step's computation by its place in the step.

    Example:
        >>> layer_number(f"{layer_scope(12)}/MatMul;layer3/add")
        12
    """
    return f"layer{number}"


def layer_number(tensor: str) -> int | None:
    """Return the place of the computation that a tensor's name tells; None if it tells none."""
    found = _LAYER.match(tensor)
    return int(found.group(1)) if found else None


def is_in_float(tensor: str) -> bool:
    """Tell whether a tensor's name says that it is computed in float32 in every scheme.

    Example:
        >>> is_in_float("layer1/in_float/Exp"), is_in_float("layer1/add")
        (True, False)
    """
    return _FLOAT.search(tensor.split(";")[0]) is not None
