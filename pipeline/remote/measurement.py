"""Run the benchmark on one device, over connections that may break.

On the device there is one temporary folder::

    edgestep-device.pyz   the program
    0/GRU.tflite ...      the models
    run-1/                a run of the program, its working folder: results.jsonl, output, errors,
                          and a file that is called "pid" while it runs and "exited-CODE" after

The program runs in a session of its own, so that a lost connection does not end it. Its files are
looked at now and then, seldom enough not to disturb the measurement. If a run has vanished without
a trace (the device was switched off), it is started again. Back to back, it measures all models
again, as they are only comparable within one run; paced, it measures only the missing ones.
"""

from __future__ import annotations

import asyncio
import time

from device_runner.printable import printable
from pipeline.errors import DeviceError
from pipeline.remote.connection import LostConnectionError, RemoteFileError, connect
from pipeline.remote.inventory import Device
from pipeline.remote.remote_run import Job, Keep, Patience, RemoteRun, Report

# A connection that lasted this long was a good one: losing it starts a new count of failures.
GOOD_CONNECTION_S = 30.0
CLEAN_UP_TIMEOUT_S = 30.0


async def measure(
    name: str, device: Device, job: Job, keep: Keep, report: Report, patience: Patience
) -> None:
    """Measure the models on a device and leave nothing there, however it ends.

    Args:
        name: what the device is called in messages.
        keep: receives each result once, as soon as it is final.
        report: receives lines about the progress.

    Raises:
        DeviceError: the device cannot be reached or lacks something, the program failed there, or
            a result is invalid (exit code 5, after all results are kept).
    """
    run = RemoteRun(name, device, job, keep, report, patience)
    try:
        await _until_all_is_there(run)
    except RemoteFileError as error:
        raise DeviceError(
            f"{name}: cannot work in {run.folder.path} ({error}); "
            "see whether its disk is full, or name another 'folder' in the inventory"
        ) from error
    # OSError: a result could not be kept here.
    except (DeviceError, OSError):
        raise
    # Whatever a device does, the others' results stay.
    except Exception as error:
        raise DeviceError(
            f"{name}: its answers cannot be read ({type(error).__name__}: {printable(error, 200)})",
            3,
        ) from error
    finally:
        if run.folder.leaves_traces:
            await _clean_up_anew(run)
    run.raise_if_invalid()


async def _until_all_is_there(run: RemoteRun) -> None:
    """Do what a run needs, and connect again where the connection breaks."""
    delays = iter(run.patience.reconnect)
    reached = False
    while True:
        connected = None
        try:
            async with connect(run.name, run.device) as connection:
                connected, reached = time.monotonic(), True
                await run.go_on(connection)
                await run.folder.clean_up(connection)
            return
        except LostConnectionError as error:
            if not reached:
                raise DeviceError(
                    f"{run.name}: cannot be reached ({error}); check that it is on, its name and "
                    "that ssh is enabled"
                ) from error
            if connected and time.monotonic() - connected > GOOD_CONNECTION_S:
                delays = iter(run.patience.reconnect)
            delay = next(delays, None)
            if delay is None:
                raise DeviceError(
                    f"{run.name}: connection lost and not made again ({error}); run the command "
                    "again when the device answers"
                ) from error
            run.report(f"connection lost ({error}); connecting again in {delay:g} s")
            await asyncio.sleep(delay)


async def _clean_up_anew(run: RemoteRun) -> None:
    """Clean up over a separate connection, and report what cannot be done."""
    try:
        async with connect(run.name, run.device) as connection:
            await asyncio.wait_for(run.folder.clean_up(connection), CLEAN_UP_TIMEOUT_S)
    except (LostConnectionError, RemoteFileError, DeviceError, asyncio.TimeoutError):
        run.report(f"not reached to clean up: {run.folder.path} is left there, and what runs in it")
