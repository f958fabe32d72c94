"""What every backend must keep; run for all that are listed in device_runner.backends.BACKENDS.

Two TFLite runtimes in one process can crash each other, so each is checked in a process of its
own: ``python -m tests.checks.backends NAME FILE``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_runner.backends import backend_module
from device_runner.errors import BadInputError, MissingRuntimeError, OptionError
from device_runner.stream import Stream, Streams
from device_runner.verify import verify

ROOT = Path(__file__).parents[2]
MISSING = "missing: "


def check_backend(name: str, file: Path) -> str:
    """Step a model on a backend in a process of its own.

    Args:
        name: as in device_runner.backends.BACKENDS.
        file: a step model that the backend takes.

    Returns:
        "" where all is kept; why the backend is not usable here otherwise.
    """
    command = [sys.executable, "-m", "tests.checks.backends", name, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.stdout.startswith(MISSING):
        assert done.stdout.count("\n") == 1
        return done.stdout.strip()
    assert done.returncode == 0, done.stdout + done.stderr
    return ""


def _check(name: str, file: Path) -> None:
    assert backend_module(name).probe()
    stream = Stream(file, name)
    assert stream.backend.name == name
    assert stream.backend.version
    assert verify(stream).failure is None
    frames = stream.model.golden.x[:12]
    _resets(stream, frames)
    _hands_its_state_on(stream, frames)
    _keeps_streams_apart(file, name, frames)
    _refuses_bad_frames(stream, frames)


def _run(stream: Stream, frames: np.ndarray) -> np.ndarray:
    return np.array([stream.step(frame) for frame in frames])


def _resets(stream: Stream, frames: np.ndarray) -> None:
    stream.reset()
    first = _run(stream, frames)
    assert np.isfinite(first).all()
    again = _run(stream, frames)
    assert not np.array_equal(first, again), "the state is not carried on"
    stream.reset()
    np.testing.assert_array_equal(_run(stream, frames), first)


def _hands_its_state_on(stream: Stream, frames: np.ndarray) -> None:
    """Check that a saved state continues where it was saved, in the states' own bytes."""
    stream.reset()
    _run(stream, frames[:6])
    saved, states = stream.save_state(), stream.state_bytes()
    expected = _run(stream, frames[6:])
    stream.load_state(saved)
    assert stream.state_bytes() == states
    np.testing.assert_array_equal(_run(stream, frames[6:]), expected)


def _keeps_streams_apart(file: Path, name: str, frames: np.ndarray) -> None:
    streams = Streams(file, name)
    left, right = streams.open(), streams.open()
    alone = _run(left, frames)
    left.reset()
    for frame, expected in zip(frames, alone, strict=True):
        np.testing.assert_array_equal(left.step(frame), expected)
        right.step(-frame)


def _refuses_bad_frames(stream: Stream, frames: np.ndarray) -> None:
    for bad in (frames[0][:-1], np.full_like(frames[0], np.nan), "frame"):
        with pytest.raises(BadInputError) as caught:
            stream.step(bad)
        assert "\n" not in caught.value.message


def _main(name: str, file: Path) -> None:
    try:
        _check(name, file)
    except (MissingRuntimeError, OptionError) as error:
        print(MISSING + error.message)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
