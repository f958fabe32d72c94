"""Speech to listen to, inside an HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runner.errors import MissingRuntimeError
from device_runner.front_ends import spelled_words
from device_runner.model.step_file import load_step_model
from device_runner.stream import Stream
from device_runner.synthesis import Voice


@dataclass(frozen=True)
class Spoken:
    """What a step model says.

    Attributes:
        file: the model's name.
        text: what it was told to say.
        source: a WAV as a data URL; "" where librosa is not installed.
    """

    file: str
    text: str
    source: str


def spoken(files: Sequence[Path]) -> list[Spoken]:
    """Let the step models that speak say all their words; others are passed over."""
    found = []
    for path in files:
        model = load_step_model(path)
        spelling = spelled_words(model.contract.front_end)
        if spelling is None:
            continue
        text = " ".join(spelling.words)
        voice = Voice(Stream(model))
        try:
            sound = voice.columns.synthesize(np.array(list(voice.text(text))))
            source = data_url(voice.columns.wav(sound))
        except MissingRuntimeError:
            source = ""
        found.append(Spoken(path.name, text, source))
    return found


def data_url(wav: bytes) -> str:
    """Write a WAV file as the source of an HTML element."""
    return f"data:audio/wav;base64,{base64.b64encode(wav).decode()}"
