"""The cycle of a hierarchical recurrence: which signature computes each of its steps.

If states have a ``period``, the signature ``step`` updates all of them and is called at the steps
that every period divides. The other steps of a cycle have signatures ``step_N`` on the same
weights, which take the states they need and give those that are due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from device_runner.model.names import STEP_SIGNATURE

# The longest allowed cycle of a hierarchical recurrence, in steps.
LONGEST_CYCLE = 256


def phase_signatures(periods: Mapping[str, int]) -> tuple[str, ...]:
    """Name the signature of each step of a cycle.

    Args:
        periods: periods in steps, by state name.

    Returns:
        "step" if all states are updated, otherwise "step_N", where N is the first step that updates
        the same states.

    Example:
        >>> phase_signatures({"fast": 1, "slow": 4})
        ('step', 'step_1', 'step_1', 'step_1')
    """
    cycle = math.lcm(1, *periods.values())
    first: dict[frozenset[str], str] = {frozenset(periods): STEP_SIGNATURE}
    names = []
    for phase in range(cycle):
        due = frozenset(name for name, period in periods.items() if phase % period == 0)
        names.append(first.setdefault(due, f"{STEP_SIGNATURE}_{phase}"))
    return tuple(names)


def phase_bytes(phase: int) -> bytes:
    """Write a step's number within the cycle as the bytes of a state."""
    return phase.to_bytes(4, "little")
