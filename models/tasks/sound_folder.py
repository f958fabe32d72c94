"""Folders of sound that a user brings: where one is, and what its files hold."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import MissingDataError, ModelsError


def named_folder(variable: str, what: str, otherwise: str = "") -> Path:
    """Return the folder that an environment variable names.

    Args:
        what: the data set, for the message: "the task keywords needs Speech Commands".
        otherwise: what else can be done.

    Raises:
        MissingDataError: the variable is not set, or names no folder.
    """
    place = os.environ.get(variable)
    if not place:
        raise MissingDataError(
            f"{what}; set {variable} to the folder you unpacked it into{otherwise}"
        )
    if not Path(place).is_dir():
        raise MissingDataError(
            f"there is no folder {place}; set {variable} to the unpacked data set"
        )
    return Path(place)


def read_wav(path: Path, rate: int) -> NDArray[np.float64]:
    """Read all samples of a file, float64 [samples] in units of 16-bit samples.

    Raises:
        ModelsError: it is damaged, or not mono of 16 bits at ``rate`` Hz.
    """
    try:
        with wave.open(str(path), "rb") as sound:
            form = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            content = sound.readframes(sound.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise ModelsError(f"{path} cannot be read ({error}); unpack the data set again") from error
    if form != (1, 2, rate):
        raise ModelsError(
            f"{path} has {form[0]} channel(s) of {8 * form[1]} bits at {form[2]} Hz; the data "
            f"set's files are mono of 16 bits at {rate} Hz"
        )
    return np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float64)
