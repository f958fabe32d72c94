"""Measure step model files side by side, from a program; the command is ``device_runner bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device_runner.backends import AUTOMATIC
from device_runner.backends.backend import LoadOptions
from device_runner.measure.benchmark import Circumstances, bench, bench_paced
from device_runner.measure.latency import BenchSettings
from device_runner.measure.paced import PacedSettings
from device_runner.measure.result import BenchResult
from device_runner.measure.scheduling import scheduled
from device_runner.opening import open_any_stream


def bench_files(
    files: str | Path | Sequence[str | Path],
    backend: str = AUTOMATIC,
    settings: BenchSettings | PacedSettings | None = None,
    circumstances: Circumstances | None = None,
    options: LoadOptions | None = None,
    data: str | Path | None = None,
) -> list[BenchResult]:
    """Verify step models and measure what one step of each costs on this machine.

    The models take turns, back to back; with :class:`PacedSettings` each is measured at the pace
    of real use, one after the other.

    Args:
        files: paths of .tflite files, or one path. A file without a contract is stepped, but not
            verified; its result says so in ``unverified``.
        backend: name of the runtime, or "auto".
        settings: how many steps or seconds to measure; None for the command's defaults.
        circumstances: CPUs and real-time priority, and a percentile that must be reported.
        options: threads, delegate, device.
        data: frames (.npy, .npz or .csv) for files without a contract; None for zeros.

    Returns:
        One result per file, in the order of ``files``, in the form that
        ``device_runner/measure/result.schema.json`` publishes. If ``valid`` is False,
        ``invalid_reason`` says why a result must not be trusted.

    Raises:
        BadModelError: a file is missing, damaged, or refused by the runtime.
        MissingRuntimeError: the runtime is not installed, or the system does not allow the
            schedule.

    Example:
        >>> short = BenchSettings(steps=100, rounds=1, warmup_s=0)
        >>> for result in bench_files(["lstm-int8.tflite", "gru-int8.tflite"], settings=short):
        ...     print(result["file"], result["latency_ns"]["step"]["samples"])
        lstm-int8.tflite 100
        gru-int8.tflite 100
    """
    paths = [files] if isinstance(files, str | Path) else list(files)
    options, how = options or LoadOptions(), settings or BenchSettings()
    around = circumstances or Circumstances(threads=options.threads)
    with scheduled(around.cpus, around.realtime):
        streams = [open_any_stream(path, backend, options, data) for path in paths]
        if isinstance(how, PacedSettings):
            return [bench_paced(stream, how, around).result for stream in streams]
        return [measured.result for measured in bench(streams, how, around)]
