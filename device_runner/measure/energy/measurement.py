"""Measure the energy of steps back to back with the machine's meter."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass

from device_runner.measure.energy.meter import EnergyMeter
from device_runner.measure.latency import golden_frames
from device_runner.measure.result import EnergyFacts
from device_runner.stream import Stream

# How often a meter of power, not energy, is read.
SAMPLE_PERIOD_S = 0.05
MEASURE_S = 2.0
# Steps between two looks at the clock.
_BATCH = 50


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

    def to_json(self) -> EnergyFacts:
        """Return the energy as a result holds it."""
        return {
            "meter": self.meter,
            "joules": self.joules,
            "seconds": self.seconds,
            "steps": self.steps,
            "joules_per_step": self.joules_per_step,
        }


def measure_energy(
    meter: EnergyMeter, stream: Stream, duration_s: float = MEASURE_S
) -> Energy | None:
    """Step for a while and read the meter; None if it gave no reading, or did not move."""
    frames = itertools.cycle(golden_frames(stream))
    with _Reading(meter) as reading:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < duration_s:
            for frame in itertools.islice(frames, _BATCH):
                stream.step_bytes(frame)
            steps += _BATCH
    if not reading.joules:
        return None
    return Energy(meter.name, reading.joules, reading.seconds, steps)


class _Reading:
    """Integrates a meter over a ``with`` block into ``joules`` and ``seconds``."""

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
