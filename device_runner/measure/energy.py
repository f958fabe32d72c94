"""What energy the machine used, from whatever meter it has; absent where it has none.

Meters, in order of preference:

- RAPL (Intel, AMD): counters of the package, in microjoules, under /sys/class/powercap;
- hwmon: a power or energy sensor such as an INA219, INA226 or INA3221 on the board;
- the power controller of the Raspberry Pi 5, read with ``vcgencmd pmic_read_adc``.

All of them measure the whole package or board, the idle part included: an energy per step is an
upper bound of what the step itself costs.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_runner.measure.latency import golden_frames
from device_runner.stream import Stream

SYSFS = Path("/sys")
# How often a meter that tells power, not energy, is read.
SAMPLE_PERIOD_S = 0.05
MEASURE_S = 2.0


@dataclass(frozen=True)
class EnergyMeter:
    """A meter of the machine. ``read`` gives joules since some moment, going around to 0 at
    ``wraps_at_j`` if that is set, if ``counts``; else the power of this moment, in watts."""

    name: str
    counts: bool
    read: Callable[[], float]
    wraps_at_j: float | None = None


@dataclass(frozen=True)
class Energy:
    """Energy of ``steps`` steps back to back, in joules, over ``seconds``."""

    meter: str
    joules: float
    seconds: float
    steps: int

    @property
    def joules_per_step(self) -> float:
        return self.joules / self.steps


def find_meter(sysfs: Path = SYSFS) -> EnergyMeter | None:
    """The best meter that this process may read, or None."""
    return _rapl(sysfs) or _hwmon(sysfs) or _raspberry_pi_5()


def measure_energy(
    meter: EnergyMeter, stream: Stream, duration_s: float = MEASURE_S
) -> Energy | None:
    """Step for a while and read the meter; None where it gave no reading, or stood still."""
    frames = itertools.cycle(golden_frames(stream))
    with _Reading(meter) as reading:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < duration_s:
            for frame in itertools.islice(frames, 50):
                stream.step_bytes(frame)
            steps += 50
    if not reading.joules:
        return None
    return Energy(meter.name, reading.joules, reading.seconds, steps)


class _Reading:
    """Integrates a meter over a ``with`` block, into ``joules`` and ``seconds``."""

    def __init__(self, meter: EnergyMeter) -> None:
        self.meter = meter
        self.joules = self.seconds = 0.0
        self._watts: list[float] = []
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _Reading:
        self._start = time.perf_counter()
        if self.meter.counts:
            self._first = self.meter.read()
        else:
            self._sampler.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.meter.counts:
            self.joules = self.meter.read() - self._first
            if self.joules < 0 and self.meter.wraps_at_j:
                self.joules += self.meter.wraps_at_j
            self.seconds = time.perf_counter() - self._start
        else:
            self._done.set()
            self._sampler.join()
            self.seconds = time.perf_counter() - self._start
            self.joules = sum(self._watts) / max(len(self._watts), 1) * self.seconds

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_PERIOD_S):
            try:
                self._watts.append(self.meter.read())
            except (OSError, ValueError):
                continue


def _rapl(sysfs: Path) -> EnergyMeter | None:
    for zone in sorted((sysfs / "class/powercap").glob("intel-rapl:[0-9]*")):
        counter = zone / "energy_uj"
        if zone.name.count(":") != 1 or not _readable(counter):
            continue
        highest = zone / "max_energy_range_uj"
        wraps_at = float(highest.read_text()) / 1e6 if _readable(highest) else None
        return EnergyMeter(f"RAPL {zone.name}", True, _scaled(counter, 1e-6), wraps_at)
    return None


def _hwmon(sysfs: Path) -> EnergyMeter | None:
    for pattern, counts in (("energy*_input", True), ("power*_input", False)):
        for sensor in sorted((sysfs / "class/hwmon").glob(f"hwmon*/{pattern}")):
            if _readable(sensor):
                chip = sensor.parent / "name"
                name = chip.read_text().strip() if _readable(chip) else sensor.parent.name
                return EnergyMeter(f"hwmon {name}", counts, _scaled(sensor, 1e-6))
    return None


def _raspberry_pi_5() -> EnergyMeter | None:
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
    """Watts of all rails together, from what ``vcgencmd pmic_read_adc`` prints: for every rail a
    line NAME_A current(n)=...A and a line NAME_V volt(n)=...V."""
    readings: dict[str, dict[str, float]] = {}
    for rail, quantity, value in re.findall(
        r"^\s*(\w+)_([AV]) \w+\(\d+\)=([\d.]+)[AV]\s*$", answer, re.MULTILINE
    ):
        readings.setdefault(rail, {})[quantity] = float(value)
    return sum(found["A"] * found["V"] for found in readings.values() if len(found) == 2)


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def _scaled(path: Path, factor: float) -> Callable[[], float]:
    return lambda: float(path.read_text()) * factor
