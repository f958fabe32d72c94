"""Read RAPL, the package's energy counters in CPUs of Intel and AMD, in microjoules."""

from __future__ import annotations

from pathlib import Path

from device_runner.measure.energy.meter import EnergyMeter, is_readable, micro_reading


def find(sysfs: Path) -> EnergyMeter | None:
    """Find the first package whose counter this process may read; most systems allow only root."""
    for zone in sorted((sysfs / "class/powercap").glob("intel-rapl:[0-9]*")):
        counter = zone / "energy_uj"
        if zone.name.count(":") != 1 or not is_readable(counter):
            continue
        highest = zone / "max_energy_range_uj"
        wraps_at = micro_reading(highest)() if is_readable(highest) else None
        return EnergyMeter(f"RAPL {zone.name}", True, micro_reading(counter), wraps_at)
    return None
