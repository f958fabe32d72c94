"""What models say, to be listened to in a page."""

from __future__ import annotations

import base64
import io
import wave

import pytest

from device_runner.errors import MissingRuntimeError
from device_runner.front_ends import mel_columns
from pipeline.spoken import spoken
from tests.conftest import KEPT_STEP_MODELS
from tests.speaking_model import WORDS, write_speaking_model

KEPT = KEPT_STEP_MODELS / "gru-float32.tflite"


def test_models_that_speak_say_all_their_words(tmp_path):
    pytest.importorskip("librosa", reason="librosa is not installed; run 'make test-synthesis'")
    path = tmp_path / "voice.tflite"
    columns = write_speaking_model(path)
    (found,) = spoken([KEPT, path])
    assert (found.file, found.text) == (path.name, " ".join(WORDS))
    data = base64.b64decode(found.source.removeprefix("data:audio/wav;base64,"))
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getframerate() == columns.sample_rate
        assert sound.getnframes() > 0.4 * columns.sample_rate


def test_without_librosa_there_is_no_sound(tmp_path, monkeypatch):
    def missing():
        raise MissingRuntimeError("not here")

    monkeypatch.setattr(mel_columns, "_librosa", missing)
    path = tmp_path / "voice.tflite"
    write_speaking_model(path)
    assert [one.source for one in spoken([path])] == [""]
