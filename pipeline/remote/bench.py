"""Run the benchmark on several devices at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.bundle import BUNDLE_NAME, write_bundle
from pipeline.errors import DeviceError
from pipeline.remote.inventory import Device
from pipeline.remote.measurement import measure
from pipeline.remote.remote_run import Job, Patience

# Signals that end this program, after the devices are told.
_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def bench_devices(
    devices: Mapping[str, Device],
    models: Sequence[Path],
    options: Sequence[str],
    keep: Callable[[dict[str, Any]], None],
    report: Callable[[str, str], None],
    patience: Patience | None = None,
) -> dict[str, DeviceError]:
    """Measure step models on all devices side by side; one that fails does not stop the others.

    Args:
        devices: devices by their names in results and messages.
        models: step model files.
        options: options of ``bench``, as on its command line.
        keep: receives each result when it is final, with the device's name as "device".
        report: receives the device's name and a line about its progress.
        patience: how long to wait for devices.

    Returns:
        What went wrong, by the device's name, in the order of ``devices``.

    Raises:
        KeyboardInterrupt: Ctrl-C or another request to end; the devices are cleaned up first.
        OSError: ``keep`` could not write, or a model could not be read; the devices are cleaned up
            too.
    """
    with tempfile.TemporaryDirectory(prefix="edgestep-") as folder:
        program = write_bundle(Path(folder, BUNDLE_NAME))
        job = Job(program, models, options, paced="--paced" in options)
        try:
            outcomes = asyncio.run(_measure_all(devices, job, keep, report, patience or Patience()))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    failures = {}
    for name, outcome in zip(devices, outcomes, strict=True):
        if isinstance(outcome, DeviceError):
            failures[name] = outcome
        elif outcome:
            raise outcome
    return failures


async def _measure_all(
    devices: Mapping[str, Device],
    job: Job,
    keep: Callable[[dict[str, Any]], None],
    report: Callable[[str, str], None],
    patience: Patience,
) -> list[BaseException | None]:
    all_of_them = asyncio.gather(
        *(
            measure(name, device, job, keep, _named(report, name), patience)
            for name, device in devices.items()
        ),
        return_exceptions=True,
    )
    for ending in _ENDING_SIGNALS:
        # Only the main thread on POSIX can do this; elsewhere Ctrl-C works as in asyncio.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError, AttributeError):
            asyncio.get_running_loop().add_signal_handler(
                getattr(signal, ending), all_of_them.cancel
            )
    return await all_of_them


def _named(report: Callable[[str, str], None], name: str) -> Callable[[str], None]:
    return lambda text: report(name, text)
