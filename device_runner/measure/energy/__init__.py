"""Energy meters that a machine may have: one file each, listed here, the best first.

All of them measure the whole package or board, with its idle part. So an energy per step is an
upper bound of what the step itself costs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from device_runner.measure.energy.meter import EnergyMeter

SYSFS = Path("/sys")


class MeterEntry(NamedTuple):
    """A kind of meter in the list.

    Attributes:
        module: its file within this package, with a function ``find(sysfs) -> EnergyMeter | None``.
        purpose: what it is, in a few words.
    """

    module: str
    purpose: str


METERS: dict[str, MeterEntry] = {
    "rapl": MeterEntry("rapl", "counters in CPUs of Intel and AMD"),
    "hwmon": MeterEntry("hwmon", "a sensor on the board, such as an INA219 or INA3221"),
    "raspberry-pi-5": MeterEntry("raspberry_pi_5", "the power controller of a Raspberry Pi 5"),
}


def find_meter(sysfs: Path = SYSFS) -> EnergyMeter | None:
    """Find the best meter that this process may read, or None."""
    for entry in METERS.values():
        module = importlib.import_module(f"device_runner.measure.energy.{entry.module}")
        meter: EnergyMeter | None = module.find(sysfs)
        if meter:
            return meter
    return None
