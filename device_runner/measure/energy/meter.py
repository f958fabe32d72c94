"""What an energy meter is, and how to read one from Linux's sysfs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EnergyMeter:
    """An energy meter of the machine.

    Attributes:
        name: what a result calls it.
        counts: whether ``read`` returns the joules since some moment; otherwise it returns the
            power at this moment, in watts.
        read: takes one reading.
        wraps_at_j: the joules at which a counter wraps to 0, if it does.
    """

    name: str
    counts: bool
    read: Callable[[], float]
    wraps_at_j: float | None = None


def is_readable(path: Path) -> bool:
    """Tell whether a file can be read and is not empty."""
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def micro_reading(path: Path) -> Callable[[], float]:
    """Make a function that reads microjoules or microwatts from a file as joules or watts."""
    return lambda: float(path.read_text()) * 1e-6
