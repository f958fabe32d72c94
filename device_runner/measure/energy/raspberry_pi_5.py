"""Read the power controller of the Raspberry Pi 5 with ``vcgencmd pmic_read_adc``."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from device_runner.measure.energy.meter import EnergyMeter


def find(_: Path) -> EnergyMeter | None:
    """Find the controller: the program must answer with a power."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None

    def read() -> float:
        answer = subprocess.run(  # noqa: S603  # a fixed command without input
            [command, "pmic_read_adc"], capture_output=True, text=True, timeout=2, check=False
        )
        return rails_power(answer.stdout)

    try:
        return EnergyMeter("Raspberry Pi 5 power controller", False, read) if read() else None
    except (OSError, subprocess.SubprocessError):
        return None


def rails_power(answer: str) -> float:
    """Add up the watts of all rails in the output of ``vcgencmd pmic_read_adc``.

    Each rail has a line NAME_A current(n)=...A and a line NAME_V volt(n)=...V.
    """
    readings: dict[str, dict[str, float]] = {}
    for rail, quantity, value in re.findall(
        r"^\s*(\w+)_([AV]) \w+\(\d+\)=([\d.]+)[AV]\s*$", answer, re.MULTILINE
    ):
        readings.setdefault(rail, {})[quantity] = float(value)
    return sum(found["A"] * found["V"] for found in readings.values() if len(found) == 2)
