"""Sources of live input: a file, a WAV file, a program that records, a real serial line."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import threading
import tty
import wave
from pathlib import Path

import numpy as np
import pytest

from device_runner.errors import BadInputError, MissingRuntimeError
from device_runner.model.step_file import load_step_model
from device_runner.sources import open_source

EXAMPLE = Path(__file__).parents[2] / "examples/classify_live.py"
SECOND = np.random.default_rng(1).integers(-3000, 3000, 10_000).astype("<i2")


@pytest.fixture
def contract(int8_file):
    return load_step_model(int8_file).contract


def csv(frames: np.ndarray) -> str:
    return "".join(",".join(map(str, frame.tolist())) + "\n" for frame in frames)


def write_wav(path: Path, rate: int = 10_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(SECOND.tobytes())
    return path


def read(name: str, contract) -> list:
    with open_source(name, contract) as frames:
        return list(frames)


def test_a_wav_file_gives_a_frame_every_shift(contract, tmp_path):
    found = read(f"wav:{write_wav(tmp_path / 'second.wav')}", contract)
    assert [number for number, _ in found] == list(range(1, (10_000 - 256) // 64 + 2))
    assert all(frame.shape == (12,) and np.isfinite(frame).all() for _, frame in found)


@pytest.mark.parametrize("wrong", [{"rate": 16_000}, {"channels": 2}, {"width": 1}])
def test_another_kind_of_sound_is_refused_with_the_way_out(wrong, contract, tmp_path):
    path = write_wav(tmp_path / "other.wav", **wrong)
    with pytest.raises(BadInputError, match="-b 16 -c 1 -r 10000 new"):
        read(f"wav:{path}", contract)


def test_what_is_not_a_wav_file_is_refused(contract, tmp_path):
    path = tmp_path / "not.wav"
    path.write_text("hello")
    with pytest.raises(BadInputError, match="not a WAV file"):
        read(f"wav:{path}", contract)
    with pytest.raises(BadInputError, match="cannot read"):
        read("wav:nowhere.wav", contract)


def test_a_missing_file_is_named(int8_file, invoke, error_line):
    result = invoke("stream", int8_file, "nowhere.csv")
    assert result.exit_code == BadInputError.exit_code
    assert "cannot read nowhere.csv: No such file" in error_line(result)


def test_sound_for_a_model_of_something_else_is_refused(contract, tmp_path):
    from dataclasses import replace

    path = write_wav(tmp_path / "second.wav")
    with pytest.raises(BadInputError, match="'watch-exercises' are not computed from sound"):
        read(f"wav:{path}", replace(contract, task="watch-exercises", front_end=None))


def test_a_model_of_log_mel_frames_hears_what_it_was_trained_on(contract, tmp_path):
    pytest.importorskip("pymicro_features")
    from dataclasses import replace

    from device_runner.front_ends.log_mel import LogMel, describe

    path = write_wav(tmp_path / "second.wav", rate=16_000)
    found = read(f"wav:{path}", replace(contract, front_end=describe(every=2)))
    expected = LogMel(describe(every=2))(SECOND.astype(np.int16))
    np.testing.assert_array_equal([frame for _, frame in found], expected)


def recorder(folder: Path, script: str, monkeypatch) -> None:
    """Make a program called arecord: a stand-in for a microphone."""
    program = folder / "arecord"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_microphone_is_read_with_arecord(contract, tmp_path, monkeypatch):
    SECOND.tofile(tmp_path / "sound.raw")
    script = (
        f"import sys; sys.stdout.buffer.write(open({str(tmp_path / 'sound.raw')!r}, 'rb').read())"
    )
    recorder(tmp_path, script, monkeypatch)
    found = []
    with (
        pytest.raises(MissingRuntimeError, match="the recording ended"),
        open_source("mic", contract) as frames,
    ):
        found.extend(frames)
    from_file = read(f"wav:{write_wav(tmp_path / 'second.wav')}", contract)
    np.testing.assert_array_equal([f for _, f in found], [f for _, f in from_file])


def test_without_a_microphone_its_complaint_is_shown(contract, tmp_path, monkeypatch):
    recorder(tmp_path, "import sys; sys.exit('arecord: no soundcards found...')", monkeypatch)
    with pytest.raises(MissingRuntimeError, match="no soundcards found"):
        read("mic", contract)


def test_without_arecord_it_is_said_what_to_install(contract, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingRuntimeError, match="alsa-utils"):
        read("mic", contract)


def test_csv_lines_on_a_serial_port(contract, frames):
    """A pseudo-terminal is a real serial line to pyserial."""
    pytest.importorskip("serial")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    sender = threading.Thread(target=os.write, args=(ours, csv(frames[:5]).encode()))
    with open_source(f"serial:{os.ttyname(theirs)}@57600", contract) as received:
        sender.start()
        found = [next(received) for _ in range(5)]
    sender.join()
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(np.float32([f for _, f in found]), frames[:5])
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("place", "message"),
    [("nowhere", "is it plugged in"), ("nowhere@fast", "not PORT or PORT@BAUD")],
)
def test_a_serial_port_that_is_not_there(place, message, contract):
    pytest.importorskip("serial")
    with pytest.raises((MissingRuntimeError, BadInputError), match=message):
        read(f"serial:{place}", contract)


def test_the_example_classifies_csv_and_sound(int8_file, frames, tmp_path):
    root = EXAMPLE.parents[1]
    for source, given, count in (
        ("-", csv(frames[:4]) + "\n" + csv(frames[:2]), 6),
        (f"wav:{write_wav(tmp_path / 'second.wav')}", "", 153),
    ):
        process = subprocess.run(
            [sys.executable, str(EXAMPLE), str(int8_file), source],
            input=given, capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        lines = process.stdout.splitlines()
        assert len(lines) == count
        assert all(" speaker " in line for line in lines)
