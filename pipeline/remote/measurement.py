"""The benchmark on one device, over connections that may break.

On the device there is one temporary folder::

    edgestep-device.pyz   the program
    0/GRU.tflite ...      the models
    run-1/                a run of the program, its working folder: results.jsonl, output, errors,
                          and a file that is called "pid" while it runs and "exited-CODE" after

The program runs in a session of its own, so that a lost connection does not end it; here the
files are looked at now and then, seldom enough not to disturb what is measured. A run that is
gone without a trace (the device was switched off) is started again: measured back to back, with
all models, because they are only comparable within one run; paced, with those that are missing.
"""

from __future__ import annotations

import asyncio
import time

from pipeline.errors import DeviceError
from pipeline.remote.connection import LostConnectionError, RemoteFileError, connect
from pipeline.remote.inventory import Device
from pipeline.remote.remote_run import Job, Keep, Patience, RemoteRun, Report

# A connection that has lasted this long was a good one: losing it is a new misfortune.
GOOD_CONNECTION_S = 30.0
CLEAN_UP_TIMEOUT_S = 30.0


async def measure(
    name: str, device: Device, job: Job, keep: Keep, report: Report, patience: Patience
) -> None:
    """Measure the models on a device and leave nothing there, however it ends.

    Args:
        name: what the device is called in messages.
        keep: gets each result as soon as it is final, once.
        report: gets lines about the progress.

    Raises:
        DeviceError: the device cannot be reached or lacks something, the program failed there, or
            a result is invalid (exit code 5; all results are kept before).
    """
    run = RemoteRun(name, device, job, keep, report, patience)
    delays = iter(patience.reconnect)
    reached = False
    try:
        while True:
            connected = None
            try:
                async with connect(name, device) as connection:
                    connected, reached = time.monotonic(), True
                    await run.go_on(connection)
                    await run.folder.clean_up(connection)
                break
            except RemoteFileError as error:
                raise DeviceError(
                    f"{name}: cannot work in {run.folder.path} ({error}); "
                    "see whether its disk is full, or name another 'folder' in the inventory"
                ) from error
            except LostConnectionError as error:
                if not reached:
                    raise DeviceError(
                        f"{name}: cannot be reached ({error}); check that it is on, its name and "
                        "that ssh is enabled"
                    ) from error
                if connected and time.monotonic() - connected > GOOD_CONNECTION_S:
                    delays = iter(patience.reconnect)
                delay = next(delays, None)
                if delay is None:
                    raise DeviceError(
                        f"{name}: connection lost and not made again ({error}); run the command "
                        "again when the device answers"
                    ) from error
                report(f"connection lost ({error}); connecting again in {delay:g} s")
                await asyncio.sleep(delay)
    finally:
        if run.folder.leaves_traces:
            await _clean_up_anew(run)
    run.raise_if_invalid()


async def _clean_up_anew(run: RemoteRun) -> None:
    """Clean up over a connection of its own; what cannot be done is reported."""
    try:
        async with connect(run.name, run.device) as connection:
            await asyncio.wait_for(run.folder.clean_up(connection), CLEAN_UP_TIMEOUT_S)
    except (LostConnectionError, RemoteFileError, DeviceError, asyncio.TimeoutError):
        run.report(f"not reached to clean up: {run.folder.path} is left there, and what runs in it")
