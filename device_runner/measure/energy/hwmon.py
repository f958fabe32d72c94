"""Read a power or energy sensor on the board (INA219, INA226, INA3221, ...) by Linux's hwmon."""

from __future__ import annotations

from pathlib import Path

from device_runner.measure.energy.meter import EnergyMeter, is_readable, micro_reading


def find(sysfs: Path) -> EnergyMeter | None:
    """Find the first readable sensor, energy counters before power sensors."""
    for pattern, counts in (("energy*_input", True), ("power*_input", False)):
        for sensor in sorted((sysfs / "class/hwmon").glob(f"hwmon*/{pattern}")):
            if is_readable(sensor):
                chip = sensor.parent / "name"
                name = chip.read_text().strip() if is_readable(chip) else sensor.parent.name
                return EnergyMeter(f"hwmon {name}", counts, micro_reading(sensor))
    return None
