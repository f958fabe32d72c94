"""Describe what ran the measurement: CPU, clock governor, temperature, load, versions.

Everything is read from files that Linux offers without special rights or programs. What a machine
does not tell is None, never guessed.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from device_runner.measure.result import Conditions, MachineFacts

# If other processes kept more cores busy than this, they may have disturbed a measurement.
OTHERS_ALLOWED_CORES = 0.3

_CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
# The Raspberry Pi's firmware: bits 0 to 3 say what limits the clock now (too little voltage, the
# clock cap, throttling, the soft temperature limit).
_PI_FIRMWARE = "soc*/*firmware/get_throttled"
_PI_NOW = 0xF
# The program that the kernel runs. Emulators answer for /proc/self/exe with the emulated program,
# but none of them knows this name.
_RUNNING_PROGRAM = Path("/proc/thread-self/exe")


def describe_machine() -> MachineFacts:
    """Describe what does not change during a measurement."""
    return {
        "model": _board() or _cpu_field("model name") or platform.processor() or None,
        "cpu": _cpu_field("model name") or platform.processor() or None,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory_bytes(),
        "system": platform.platform(),
        "virtual_machine": "hypervisor" in (_cpu_field("flags") or "").split(),
        "emulated": emulated(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def emulated() -> bool:
    """Tell whether this Python's instructions are translated for another CPU, as by qemu.

    If so, the program that the kernel runs, the emulator, is built for another CPU than Python is.
    A whole emulated machine (qemu-system) hides this, and so does a system without Linux's /proc.
    """
    running, python = _built_for(_RUNNING_PROGRAM), _built_for(Path(sys.executable or ""))
    return None not in (running, python) and running != python


def describe_conditions() -> Conditions:
    """Describe what can change and spoil a measurement; read it before and after."""
    frequency = _number(_CPU / "scaling_cur_freq")
    return {
        "governor": _read(_CPU / "scaling_governor"),
        "frequency_hz": None if frequency is None else int(frequency * 1000),
        "temperature_c": _temperature(),
        "throttled": _throttled_now(),
        "throttle_events": _throttle_events(),
        "clock_s": time.monotonic(),
        "busy_s": _busy_seconds(),
        "own_s": time.process_time(),
    }


def throttling(before: Conditions, after: Conditions) -> str | None:
    """Say how the machine slowed itself down during the measurement, or None."""
    if before["throttled"] or after["throttled"]:
        return "the machine throttled (too hot, or too little voltage)"
    earlier, later = before["throttle_events"], after["throttle_events"]
    if earlier is not None and later is not None and later > earlier:
        return f"the CPU throttled {later - earlier} times for its temperature"
    return None


def warnings_about(before: Conditions, after: Conditions) -> list[str]:
    """List what in the conditions makes latencies doubtful, one sentence each."""
    found = []
    governor = before["governor"]
    if governor not in (None, "performance"):
        found.append(
            f"the clock governor is '{governor}': steps of an idle device start at a low clock"
        )
    if before["busy_s"] is not None and after["busy_s"] is not None:
        elapsed = after["clock_s"] - before["clock_s"]
        own = after["own_s"] - before["own_s"]
        others = (after["busy_s"] - before["busy_s"] - own) / max(elapsed, 1e-9)
        if others > OTHERS_ALLOWED_CORES:
            found.append(f"other processes kept {others:.1f} cores busy during the measurement")
    hot = after["temperature_c"]
    if hot is not None and hot > 80:
        found.append(f"the CPU is at {hot:.0f} degrees Celsius and may have slowed down")
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip().strip("\0") or None
    except OSError:
        return None


def _built_for(program: Path) -> bytes | None:
    """Read the class, byte order and CPU from an ELF program's header; None for other files."""
    try:
        with program.open("rb") as file:
            header = file.read(20)
    except OSError:
        return None
    return header[4:6] + header[18:20] if header.startswith(b"\x7fELF") else None


def _number(path: Path) -> float | None:
    try:
        return float(_read(path) or "")
    except ValueError:
        return None


def _board() -> str | None:
    return _read(Path("/proc/device-tree/model"))


def _cpu_field(name: str) -> str | None:
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _busy_seconds() -> float | None:
    fields = (_read(Path("/proc/stat")) or "").split("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    # user, nice, system, (idle, iowait,) irq, softirq, steal: proc(5)
    ticks = [int(field) for field in fields[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _throttled_now() -> bool | None:
    for path in Path("/sys/devices/platform").glob(_PI_FIRMWARE):
        try:
            return bool(int(_read(path) or "", 16) & _PI_NOW)
        except ValueError:
            continue
    return None


def _throttle_events() -> int | None:
    counters = Path("/sys/devices/system/cpu").glob("cpu*/thermal_throttle/core_throttle_count")
    counts = [value for path in counters if (value := _number(path)) is not None]
    return int(sum(counts)) if counts else None


def _temperature() -> float | None:
    readings = [
        value / 1000
        for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp")
        if (value := _number(zone)) is not None
    ]
    return max(readings, default=None)
