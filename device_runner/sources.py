"""Read a stream's frames from CSV lines, a WAV file, the microphone or a serial port.

A text names a source: ``-`` or a path for CSV, ``wav:PATH``, ``mic``, or ``serial:PORT``
(``serial:PORT@BAUD``) for CSV lines on a serial port.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from device_runner.errors import BadInputError, MissingRuntimeError
from device_runner.front_ends import sample_frames, sound_front_end
from device_runner.front_ends.samples import SampleFrames
from device_runner.front_ends.sound import BLOCK_SAMPLES, SoundFrontEnd
from device_runner.model.contract import Contract
from device_runner.model.tensor_spec import TensorSpec

DEFAULT_BAUD = 115_200
# The number of a frame, or of its line, and its values (which Stream.step takes). The values are
# None if a new sequence begins.
NumberedFrames = Iterator[tuple[int, Any]]


@contextlib.contextmanager
def open_source(name: str, contract: Contract) -> Iterator[NumberedFrames]:
    """Open a source of frames for a model.

    Args:
        name: "-" or a path for CSV, "wav:PATH", "mic", "serial:PORT" or "serial:PORT@BAUD".
        contract: the model's contract.

    Yields:
        Frames with their numbers, from 1; None instead of a frame when a new sequence begins.

    Raises:
        BadInputError: the source cannot be read, or does not fit the model.
        MissingRuntimeError: a program, package or device for it is missing.
    """
    kind, _, place = name.partition(":")
    with contextlib.ExitStack() as stack:
        if kind == "wav" and place:
            yield _from_wav(place, contract, stack)
        elif name == "mic":
            yield _from_microphone(contract, stack)
        elif kind == "serial" and place:
            yield csv_frames(_serial_lines(place, stack), contract)
        else:
            yield csv_frames(_text_lines(name, stack), contract)


@contextlib.contextmanager
def open_text(name: str) -> Iterator[Iterator[str]]:
    """Open the lines of ``text:PATH``, of a path, or of standard input (``-``).

    Raises:
        BadInputError: the source cannot be read, or is not text.
    """
    with contextlib.ExitStack() as stack:
        lines = _text_lines(name.removeprefix("text:"), stack)
        yield (line.rstrip("\r\n") for line in lines)


# Of a file with a header, such as those of training.
_HEADER = ": leave out the header, and the columns that the model does not read ('cut -d, -f')"


def csv_frames(lines: Iterable[str], contract: Contract) -> NumberedFrames:
    """Read one frame per line, as numbers and commas; an empty line begins a new sequence.

    For a model of several inputs, a line holds the values of all inputs one after another, and a
    token's id as a whole number. If a frame is several samples, a line may hold one sample: the
    last one completes the frame, and an empty line drops an incomplete frame.

    Raises:
        BadInputError: a line is anything else; the message gives its number.
    """
    gathering = sample_frames(contract.front_end)
    samples: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            samples.clear()
            yield number, None
            continue
        cells = line.split(",")
        try:
            if gathering is not None and (samples or len(cells) == gathering.channels):
                samples.append(_sample(cells, gathering))
                if len(samples) < gathering.samples_per_frame:
                    continue
                cells = gathering.frame(samples)
                samples.clear()
            yield number, _frame(cells, contract.inputs)
        except ValueError as error:
            raise BadInputError(
                f"line {number}: {error}; each line is numbers and commas"
                f"{_HEADER if number == 1 else ''}"
            ) from error


def _frame(cells: list[str], inputs: Sequence[TensorSpec]) -> Any:
    """Turn a line's cells into what Stream.step takes; ValueError says what is wrong."""
    widths = [math.prod(spec.frame_shape) for spec in inputs]
    numbers = [_number(cell) for cell in cells]
    if len(cells) != sum(widths):
        raise ValueError(f"it has {len(cells)} values, the model takes {sum(widths)}")
    parts: list[NDArray[Any]] = []
    for spec, width in zip(inputs, widths, strict=True):
        if spec.vocabulary is not None:
            parts.append(np.array([int(cell) for cell in cells[:width]], np.int64))
        else:
            parts.append(np.array(numbers[:width], np.float64).reshape(spec.frame_shape))
        cells, numbers = cells[width:], numbers[width:]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _sample(cells: list[str], gathering: SampleFrames) -> list[str]:
    """Return a line's cells if they are a sample of numbers; ValueError says what is wrong."""
    if len(cells) != gathering.channels:
        raise ValueError(
            f"it has {len(cells)} values, the sample of the line before {gathering.channels}"
        )
    for cell in cells:
        _number(cell)
    return cells


def _number(cell: str) -> float:
    """Read a number as people write it; Python also takes 1_000, which may be two values."""
    if "_" in cell:
        raise ValueError(f"{cell.strip()[:50]!r} is not a number")
    return float(cell)


def _text_lines(place: str, stack: contextlib.ExitStack) -> Iterator[str]:
    if place == "-":
        source: IO[str] = sys.stdin
    else:
        try:
            source = stack.enter_context(Path(place).open(encoding="utf-8"))  # noqa: SIM115
        except OSError as error:
            raise BadInputError(
                f"cannot read {place}: {error.strerror}; name a CSV file, text:FILE, '-', "
                "wav:FILE, mic or serial:PORT"
            ) from error
    return _decoded(source)


def _decoded(source: IO[str]) -> Iterator[str]:
    try:
        yield from source
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"the source is not text ({error}); it must be CSV or text in UTF-8"
        ) from error


def _serial_lines(place: str, stack: contextlib.ExitStack) -> Iterator[str]:
    try:
        import serial
    except ImportError as error:
        raise MissingRuntimeError(
            "a serial port needs pyserial; install it with 'pip install pyserial'"
        ) from error
    port, _, baud = place.partition("@")
    try:
        connection = stack.enter_context(serial.Serial(port, int(baud or DEFAULT_BAUD)))
    except ValueError as error:
        raise BadInputError(f"'{place}' is not PORT or PORT@BAUD ({error})") from error
    except OSError as error:  # pyserial's own errors are OSErrors
        raise MissingRuntimeError(
            f"cannot open the serial port {port} ({error}); is it plugged in, and may you use it "
            "(group dialout)?"
        ) from error
    return _received(connection)


def _received(connection: Any) -> Iterator[str]:
    try:
        while line := connection.readline():
            yield line.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"the serial port does not send CSV ({error}); check the speed"
        ) from error
    except OSError as error:  # pyserial's own errors are OSErrors
        raise MissingRuntimeError(f"the serial port {connection.port} is gone ({error})") from error


def _from_wav(place: str, contract: Contract, stack: contextlib.ExitStack) -> NumberedFrames:
    try:
        sound = stack.enter_context(wave.open(place, "rb"))  # noqa: SIM115
    except OSError as error:
        raise BadInputError(f"cannot read {place}: {error.strerror}") from error
    except (wave.Error, EOFError) as error:
        raise BadInputError(f"{place} is not a WAV file of plain samples ({error})") from error
    front_end = _front_end(contract)
    rate = front_end.sample_rate
    if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (rate, 1, 2):
        raise BadInputError(
            f"{place} has {sound.getnchannels()} channel(s) of {8 * sound.getsampwidth()} bits at "
            f"{sound.getframerate()} Hz; the model's task wants one of 16 bits at {rate} Hz, as "
            f"'sox {place} -b 16 -c 1 -r {rate} new.wav' makes it"
        )
    blocks = iter(lambda: sound.readframes(BLOCK_SAMPLES), b"")
    return _numbered(front_end.frames(map(_samples, blocks)))


def _from_microphone(contract: Contract, stack: contextlib.ExitStack) -> NumberedFrames:
    front_end = _front_end(contract)
    rate = front_end.sample_rate
    recorder = shutil.which("arecord")
    if recorder is None:
        raise MissingRuntimeError("the microphone needs arecord; install Debian's alsa-utils")
    command = [recorder, "--quiet", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate)]
    process = stack.enter_context(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603
    )
    stack.callback(process.terminate)
    return _numbered(front_end.frames(_recorded(process)))


def _recorded(process: subprocess.Popen[bytes]) -> Iterator[NDArray[Any]]:
    output: Any = process.stdout
    while block := output.read(2 * BLOCK_SAMPLES):
        yield _samples(block)
    complaint = process.stderr.read().decode(errors="replace").split("\n")[0]  # type: ignore[union-attr]
    raise MissingRuntimeError(
        f"no sound from the microphone ({complaint or 'the recording ended'}); "
        "'arecord -l' lists what there is"
    )


def _front_end(contract: Contract) -> SoundFrontEnd:
    front_end = sound_front_end(contract.front_end)
    if front_end is None:
        raise BadInputError(
            f"the inputs of '{contract.task}' are not computed from sound; give CSV lines of "
            f"{sum(math.prod(spec.frame_shape) for spec in contract.inputs)} numbers"
        )
    return front_end


def _samples(block: bytes) -> NDArray[np.int16]:
    return np.frombuffer(block, "<i2").astype(np.int16)


def _numbered(frames: Iterable[NDArray[Any]]) -> NumberedFrames:
    return enumerate(frames, 1)
