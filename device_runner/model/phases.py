"""The cycle of a hierarchical recurrence: which signature computes each of its steps.

Where states have a ``period``, ``step`` updates all of them and is called at the steps that every
period divides; for the other steps of a cycle there are signatures ``step_N`` on the same weights,
which take the states that they need and give those that are due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from device_runner.model.names import STEP_SIGNATURE

# In which all periods of a hierarchical recurrence end together.
LONGEST_CYCLE = 256


def phase_signatures(periods: Mapping[str, int]) -> tuple[str, ...]:
    """The signature of each step of a cycle, from the states' periods: "step" where all states
    are updated, otherwise "step_N" with the first step N at which the same states are."""
    cycle = math.lcm(1, *periods.values())
    first: dict[frozenset[str], str] = {frozenset(periods): STEP_SIGNATURE}
    names = []
    for phase in range(cycle):
        due = frozenset(name for name, period in periods.items() if phase % period == 0)
        names.append(first.setdefault(due, f"{STEP_SIGNATURE}_{phase}"))
    return tuple(names)


def phase_bytes(phase: int) -> bytes:
    """A step's number within the cycle as a state's bytes."""
    return phase.to_bytes(4, "little")
