"""What a meter of energy is, and reading one from a file of Linux' sysfs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EnergyMeter:
    """A meter of the machine.

    Attributes:
        name: what a result calls it.
        counts: whether ``read`` gives joules since some moment; else it gives the power of this
            moment, in watts.
        read: one reading.
        wraps_at_j: the joules at which a counter begins at 0 again, if it does.
    """

    name: str
    counts: bool
    read: Callable[[], float]
    wraps_at_j: float | None = None


def is_readable(path: Path) -> bool:
    """Whether a file can be read and holds something."""
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def micro_reading(path: Path) -> Callable[[], float]:
    """A function that reads a file of microjoules or microwatts, and gives joules or watts."""
    return lambda: float(path.read_text()) * 1e-6
